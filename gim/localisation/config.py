"""The numbers of localisation; defaults are those of hloc's pipelines where it has the same step."""

from dataclasses import dataclass

from gim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LocalisationConfig:
    """How images are matched and how poses are found."""

    max_side_px: int = 1600  # larger images are shrunk before matching; 0: never
    merge_px: float = 2.0  # positions this near are one keypoint of a database image; of matchers without keypoints
    covisible: int = 20  # database images that each database image is matched with
    max_triangulation_error_px: float = 4.0  # from the epipolar line of the known cameras
    clusters: bool = False  # one pose per group of retrieved images that see the same points, the best one wins
    max_error_px: float = 12.0  # of an inlier of the pose
    min_matches: int = 0  # pairs with fewer are left out
    seed: int = 0  # of the random samples of poses

    def __post_init__(self) -> None:
        if self.max_side_px < 0 or self.merge_px < 0 or self.covisible < 1:
            raise ConfigError("localisation needs max_side_px >= 0, merge_px >= 0 and covisible >= 1")


AACHEN = LocalisationConfig()
INLOC = LocalisationConfig(max_error_px=48.0, min_matches=20, merge_px=0.0)  # no tracks to make longer
