"""The shipped scores of the paper's two-view benchmarks, against the means that the paper prints."""

import numpy as np
import pytest

from gim.evaluation.homography_protocols import homography_protocol_named
from gim.evaluation.protocols import protocol_named
from gim.evaluation.published_two_view import published_two_view

MEANS = {  # as printed: over the six scores of both pose benchmarks
    "SuperGlue (in)": 39.62,
    "SuperGlue (out)": 46.28,
    "GIM_SuperGlue": 46.33,
    "LoFTR (in)": 25.37,
    "LoFTR (out)": 51.05,
    "GIM_LoFTR": 52.13,
    "DKM (in)": 61.07,
    "DKM (out)": 59.52,
    "GIM_DKM": 61.15,
}


def test_rows_of_both_pose_benchmarks_have_the_printed_means() -> None:
    table = published_two_view()
    rows = {
        row.method: [list(row.auc.values()), list(other.auc.values())]
        for row, other in zip(table["megadepth1500"].methods, table["scannet1500"].methods, strict=True)
        if row.method == other.method
    }
    assert {name: np.mean(six) for name, six in rows.items()} == pytest.approx(MEANS, abs=0.011)


def test_each_benchmark_says_what_it_is_comparable_to() -> None:
    table = published_two_view()
    assert set(table) == {"hpatches", "megadepth1500", "scannet1500"}
    bounds = {name: {tuple(row.auc) for row in found.methods} for name, found in table.items()}
    assert bounds == {
        "hpatches": {("3", "5", "10")},
        "megadepth1500": {("5", "10", "20")},
        "scannet1500": {("5", "10", "20")},
    }
    assert all("2402.11095" in found.source and found.note for found in table.values())
    assert homography_protocol_named(table["hpatches"].protocol)
    assert protocol_named(table["megadepth1500"].protocol)


def test_training_on_video_helps_every_matcher_on_planes() -> None:
    auc = {row.method: row.auc for row in published_two_view()["hpatches"].methods}
    for name in ("SuperGlue", "LoFTR", "DKM"):
        assert all(auc[f"GIM_{name}"][bound] > auc[f"{name} (out)"][bound] for bound in ("3", "5", "10"))
