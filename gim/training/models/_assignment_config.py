"""Settings of the architectures that assign keypoints to each other, and how a recipe's are checked against them."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from gim.errors import ConfigError
from gim.training.supervision.keypoints import Thresholds

Record = TypeVar("Record", bound="AssignmentConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentConfig:
    """What LightGlue and SuperGlue have in common."""

    extractor: str = "superpoint"  # of the features, frozen
    extractor_weights: str = ""  # of the catalogue, or a file; published with the weights, or named beside them
    max_keypoints: int = 0  # of an image, where the trained weights are used; 0: the matcher's default
    label_weight: float = 1.0  # of the loss at labels: GIM takes the plain mean, LightGlue's positives count a half
    positive_px: float = 3.0  # keypoints nearer than this match (LightGlue, Sec. 5)
    negative_px: float = 5.0  # a keypoint with none nearer than this has no match (likewise)
    epipolar_px: float = 5.0  # without depth: a keypoint with none nearer than this to its epipolar line has none
    label_radius_px: float = 3.0  # detected keypoints this near to a label are moved along with it

    def __post_init__(self) -> None:
        if not 0 < self.positive_px <= self.negative_px:
            raise ConfigError("model needs 0 < positive_px <= negative_px")
        if self.epipolar_px <= 0 or self.label_radius_px <= 0 or self.label_weight <= 0 or self.max_keypoints < 0:
            raise ConfigError(
                "model needs epipolar_px > 0, label_radius_px > 0, label_weight > 0 and max_keypoints >= 0"
            )

    @property
    def thresholds(self) -> Thresholds:
        """How near is near."""
        return Thresholds(self.positive_px, self.negative_px, self.epipolar_px, self.label_radius_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class LightGlueConfig(AssignmentConfig):
    """LightGlue's layers, and how they are trained."""

    layers: int = 9
    width: int = 256
    heads: int = 4
    begin: Literal["random", "descriptors"] = "random"  # untrained weights; see `begin_with_descriptors`
    label_matchability: float = 1.0  # how far labels move what says that a keypoint has a match; 0: not at all
    gamma: float = 1.0  # a layer's loss counts this power of its distance from the last; 1: all the same (Eq. 11)
    confidence: bool = False  # also train what stops early, as GIM does; it moves no other weight
    recompute: bool = False  # a layer's inside in the backward pass instead of keeping it: less memory, a third slower

    def __post_init__(self) -> None:
        AssignmentConfig.__post_init__(self)  # `super()` does not find the class that `slots` makes anew
        if min(self.layers, self.width, self.heads) < 1 or self.width % (2 * self.heads):
            raise ConfigError(
                f"model needs layers >= 1 and a width that is a multiple of twice the heads, got layers "
                f"{self.layers}, width {self.width}, heads {self.heads}"
            )
        if not 0 < self.gamma <= 1 or not 0 <= self.label_matchability <= 1:
            raise ConfigError(
                f"model needs gamma in (0, 1] and label_matchability in [0, 1], got {self.gamma} and "
                f"{self.label_matchability}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperGlueConfig(AssignmentConfig):
    """How SuperGlue is trained; its size is fixed."""

    sinkhorn_iterations: int = 100  # Sarlin et al., Sec. 3.2: T = 100

    def __post_init__(self) -> None:
        AssignmentConfig.__post_init__(self)
        if self.sinkhorn_iterations < 1:
            raise ConfigError(f"model needs sinkhorn_iterations >= 1, got {self.sinkhorn_iterations}")


def matcher_settings(config: AssignmentConfig, extractor_setting: str) -> dict[str, Any]:
    """Settings of the matcher that trained weights go with, those that differ from its defaults.

    Args:
        config: of what was trained.
        extractor_setting: of the matcher, that names the extractor's weights; empty where they are in the same file.
    """
    settings: dict[str, Any] = {}
    if extractor_setting and config.extractor_weights:
        settings[extractor_setting] = config.extractor_weights
    if config.max_keypoints:
        settings["max_keypoints"] = config.max_keypoints
    return settings
