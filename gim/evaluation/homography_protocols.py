"""Protocols of homographies, as data: how one is estimated from correspondences, and what counts as right.

Numbers of two protocols are not to be compared, so every report carries its own. What a protocol says never changes;
other numbers, or other results by the same numbers, are another revision.
"""

from dataclasses import dataclass
from typing import Literal

from gim.evaluation.estimation import Revisioned
from gim.spelling import one_named


@dataclass(frozen=True, slots=True)
class HomographyProtocol(Revisioned):
    """How a homography is estimated and judged: by where it takes the corners of image 0, the mean of four distances.

    Pixels are of image 1 as it would be with its shorter side at `shortest_side`, whatever the size it is matched at.
    """

    solver: Literal["opencv-ransac", "poselib"]
    threshold_px: float  # largest transfer error of an inlier, in image 1
    success_probability: float
    max_iterations: int  # samples drawn at most
    is_fixed_length: bool  # whether exactly so many are drawn, whatever the share of inliers
    seeds: tuple[int, ...]  # one run each, scores are their means; empty: the solver takes none and has its own
    min_matches: int  # fewer are a failure
    shortest_side: int | None  # of image 1, what a pixel is; None: pixels of the image as given
    thresholds_px: tuple[float, ...]  # of the AUC
    source: str


PROTOCOLS = (
    HomographyProtocol(
        name="gim",
        revision=1,
        solver="opencv-ransac",
        threshold_px=3.0,
        success_probability=0.99999,
        max_iterations=2000,  # OpenCV's own
        is_fixed_length=False,
        seeds=(),
        min_matches=4,
        shortest_side=480,
        thresholds_px=(3.0, 5.0, 10.0),
        source="the paper's words, OpenCV RANSAC and the mean of four corners; the numbers it does not print are those "
        "of DKM's hpatches_sequences_homog_benchmark.py and of LoFTR's authors (zju3dv/LoFTR issues 105 and 136)",
    ),
    HomographyProtocol(
        name="strict",
        revision=1,
        solver="poselib",
        threshold_px=3.0,
        success_probability=0.99999,
        max_iterations=2000,
        is_fixed_length=True,
        seeds=(0, 1, 2),
        min_matches=4,
        shortest_side=480,
        thresholds_px=(3.0, 5.0, 10.0),
        source="ours",
    ),
)


def homography_protocol_named(name: str) -> HomographyProtocol:
    """The protocol of a name.

    Raises:
        ConfigError: there is none; the message has all.
    """
    return one_named(name, PROTOCOLS, "protocol of homographies")
