"""Protocols of relative pose, as data: how a pose is estimated from correspondences, and what counts as right.

Numbers of two protocols are not to be compared, so every report carries its own. What a protocol says never changes;
other numbers, or other results by the same numbers, are another revision.
"""

from dataclasses import dataclass
from typing import Literal

from gim.evaluation.estimation import Revisioned
from gim.evaluation.image_size import SizeRule
from gim.spelling import one_named


@dataclass(frozen=True, slots=True)
class PoseProtocol(Revisioned):
    """How a relative pose is estimated and judged. The error of a pair is the larger of both angles."""

    solver: Literal["opencv-ransac", "poselib"]  # of the essential matrix
    threshold_px: float  # largest epipolar error of an inlier, pixels of the image as given, or of `longest_side`
    # What the threshold is divided by to stand in normalised coordinates; "each": PoseLib's own, camera by camera.
    focal: Literal["upstream-mean", "mean", "each"]
    success_probability: float
    max_iterations: int  # samples drawn at most
    is_fixed_length: bool  # whether exactly so many are drawn, whatever the share of inliers
    seeds: tuple[int, ...]  # one run each, scores are their means; empty: the solver takes none and has its own
    min_matches: int  # fewer are a failure
    farthest: float  # baselines; points beyond do not vote for a pose (opencv-ransac); 0: the solver has no limit
    is_sign_known: bool  # whether a translation that points backwards is wrong
    longest_side: int | None  # images are shrunk to it before they are matched, pixels; None: the benchmark's own rule
    is_enlarged: bool  # whether smaller images are brought to it too
    max_pairs_per_scene: int | None  # a draw of so many; None: all
    source: str

    @property
    def size_rule(self) -> SizeRule:
        """At which size it has images matched."""
        return SizeRule(self.longest_side, is_enlarged=self.is_enlarged)


# OpenCV draws at most 1,000 samples and seeds them itself. Its recoverPose takes the number that both authors give for
# the distance as the rotation to fill, and goes by its default of 50 baselines.
_OPENCV = {
    "solver": "opencv-ransac",
    "success_probability": 0.99999,
    "max_iterations": 1000,
    "is_fixed_length": False,
    "seeds": (),
    "min_matches": 5,
    "farthest": 50.0,
    "is_sign_known": False,
}

PROTOCOLS = (
    PoseProtocol(
        name="gim",
        revision=1,
        threshold_px=0.5,
        focal="upstream-mean",
        longest_side=None,
        is_enlarged=False,
        max_pairs_per_scene=None,
        source="test scripts and metrics of the original system; its published results",
        **_OPENCV,  # type: ignore[arg-type]
    ),
    PoseProtocol(
        name="glue-factory",
        revision=1,
        threshold_px=1.0,
        focal="mean",
        longest_side=1024,
        is_enlarged=True,
        max_pairs_per_scene=200,  # its scenes are the folders of ZEB, so that there are 2,400 pairs at most
        source="glue-factory, eval/zeb.py of 2025-07-22",
        **_OPENCV,  # type: ignore[arg-type]
    ),
    PoseProtocol(
        name="strict",
        revision=1,
        solver="poselib",
        threshold_px=1.0,
        focal="each",
        success_probability=0.99999,
        max_iterations=2_000,
        is_fixed_length=True,
        seeds=(0, 1, 2),
        min_matches=5,
        farthest=0,
        is_sign_known=False,
        longest_side=None,
        is_enlarged=False,
        max_pairs_per_scene=None,
        source="ours",
    ),
)


def protocol_named(name: str) -> PoseProtocol:
    """The protocol of a name.

    Raises:
        ConfigError: there is none; the message has all.
    """
    return one_named(name, PROTOCOLS, "protocol")
