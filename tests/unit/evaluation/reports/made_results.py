"""Small results to make reports of. Not a test."""

import numpy as np

from gim.evaluation.comparison import MethodResults
from tests.zeb_files import result

HOSTILE = '=<b>|"x'


def results(method, datasets, *, version="gim-1", num_pairs=30, scale=1.0, seeds=1):
    """Results whose errors and overlaps are drawn by the datasets' names; every tenth pair has no pose."""
    runs = {}
    for dataset in datasets:
        runs[dataset] = []
        for seed in range(seeds):
            random = np.random.default_rng(len(dataset) + 100 * seed)
            errors = np.where(np.arange(num_pairs) % 10 == 9, np.inf, scale * random.gamma(1.0, 4.0, num_pairs))
            overlaps = np.random.default_rng(len(dataset)).uniform(0, 1, num_pairs)
            runs[dataset].append(
                tuple(
                    result(f"scene#{index:03d}#x", float(error), overlap=float(overlap))
                    for index, (error, overlap) in enumerate(zip(errors, overlaps, strict=True))
                )
            )
    return MethodResults(method, version, runs)
