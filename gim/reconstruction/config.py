"""What a reconstruction can be told, besides which matcher to use."""

from dataclasses import dataclass
from typing import Literal

from gim.errors import ConfigError

CameraSharing = Literal["auto", "shared", "per-image", "per-folder"]
Mapper = Literal["incremental", "global"]
AUTO, EXHAUSTIVE, SEQUENTIAL, RETRIEVAL = "auto", "exhaustive", "sequential", "retrieval"


@dataclass(frozen=True, slots=True)
class ReconstructionConfig:
    """Everything that changes the model, but for images, masks and the matcher. Chosen on the sample photographs."""

    pairs: str = AUTO  # auto, exhaustive, sequential, retrieval, or the path of a file
    max_exhaustive: int = 100  # images; auto takes retrieval for more
    overlap: int = 10  # sequential: each image with so many that follow
    num_similar: int = 20  # retrieval: most similar images per image; closes loops of a sequence too
    camera: CameraSharing = "auto"
    camera_model: str = "SIMPLE_RADIAL"  # of COLMAP; or MODEL,PARAMETER,...
    mapper: Mapper = "incremental"
    merge_px: float | None = None  # see `merge_distance_px`
    min_inliers: int = 25  # of a verified pair: clouds and rows of windows give COLMAP's 15 by chance
    max_error_px: float = 2.0  # of verification, to the epipolar line; COLMAP's 4 lets false pairs through
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.overlap, self.num_similar, self.max_exhaustive) < 1:
            raise ConfigError("overlap, num_similar and max_exhaustive have to be at least 1")
        if (self.merge_px is not None and self.merge_px < 0) or self.max_error_px <= 0 or self.min_inliers < 8:
            raise ConfigError("merge_px has to be 0 or more, max_error_px above 0, min_inliers at least 8")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed {self.seed}: expected 0 to 2147483647")


def merge_distance_px(config: ReconstructionConfig, *, has_keypoints: bool) -> float:
    """How near positions of different pairs are one keypoint.

    A sparse matcher finds the same keypoints whatever the other image, so equal places are enough; a dense one finds
    others in each pair, and no track would be longer than two without some slack.
    """
    if config.merge_px is not None:
        return config.merge_px
    return 0.0 if has_keypoints else 2.0
