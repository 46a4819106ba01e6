"""What frozen extractors find in a sample. Imports no torch."""

from dataclasses import dataclass

from gim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class KeypointSettings:
    """Which keypoints of an image become features; every number of it changes what is kept on disk."""

    max_keypoints: int = 1024  # of an image
    at_labels: bool = True  # of video pairs the labelled pixels come first
    label_share: float = 0.5  # of `max_keypoints`, at most, that are labels; upstream: 1.0 (reference, 3c)
    min_distance_px: float = 3.0  # what is nearer counts as one keypoint, as in LightGlue's truth (its paper, Sec. 4)
    border_px: int = 4  # nothing is detected so near to what is no photograph: its edge looks like a corner
    detection_threshold: float | None = None  # least score, exclusive; None: the extractor's own
    nms_radius_px: int = 3  # of SuperPoint, as GIM trained it

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or not 0 <= self.label_share <= 1:
            raise ConfigError("features need max_keypoints >= 1 and label_share in [0, 1]")
        if min(self.min_distance_px, self.border_px, self.nms_radius_px, self.detection_threshold or 0) < 0:
            raise ConfigError("features need distances, border and threshold of at least 0")

    @property
    def max_labels(self) -> int:
        """Most keypoints of an image that are labels."""
        return int(self.label_share * self.max_keypoints)
