"""Files of ZEB for tests: a pair's text, results of pairs, and the published results. Not a test."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gim.evaluation.results_file import PairResult, format_results, results_file_name
from gim.records import Float64Array

K0 = np.array([[300.0, 0, 160], [0, 301, 120], [0, 0, 1]])
K1 = np.array([[500.0, 0, 320], [0, 505, 240], [0, 0, 1]])
T_0TO1 = np.array([[0.0, -1, 0, 0.25], [1, 0, 0, 0.5], [0, 0, 1, -1], [0, 0, 0, 1]])


def pair_text(
    word0: str,
    word1: str,
    *,
    overlaps: tuple[float, float] = (0.25, 0.5),
    cameras: tuple[Float64Array, Float64Array, Float64Array] = (K0, K1, T_0TO1),
) -> str:
    """The line of a pair; numbers are read back as they are."""
    numbers = np.concatenate([overlaps, *(matrix.ravel() for matrix in cameras)])
    return " ".join([word0, word1, *(repr(float(number)) for number in numbers)])


def result(
    identifier: str, error_deg: float = 1.0, *, overlap: float = 0.5, precision: tuple[float, float] = (0.5, 1.0)
) -> PairResult:
    """The result of a pair whose rotation is off by so much, its translation by half of it."""
    return PairResult(identifier, overlap, overlap, error_deg, error_deg / 2, 0.25, precision[0], 10, precision[1], 8)


def results_of(errors_deg: Sequence[float], *, scene: str = "scene") -> tuple[PairResult, ...]:
    """Results of pairs by the errors of their poses."""
    return tuple(result(f"{scene}#{index:04d}#x", error) for index, error in enumerate(errors_deg))


def write_results(folder: Path, results: Sequence[PairResult], name: tuple[str, str, str]) -> Path:
    """Write a file of results under its method, dataset and version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / results_file_name(*name)
    path.write_text(format_results(results), encoding="utf-8")
    return path


def unpack_published(shared_data: Path, folder: Path) -> Path:
    """Unpack the 24 published files of results into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shared_data / "zeb_results/published.tar.xz") as archive:
        for member in archive:
            if member.isfile() and (content := archive.extractfile(member)):
                (folder / Path(member.name).name).write_bytes(content.read())
    return folder
