"""XFeat features matched as mutual nearest neighbours: permissive, and the fastest network on a CPU."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._xfeat import XFeatMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class XFeatConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 4096  # strongest kept, as published; matching costs its square
    detection_threshold: float = 0.05  # least probability of a keypoint, exclusive, as published
    min_similarity: float = 0.82  # least cosine of two descriptors, exclusive, as published
    max_side_px: int = 1600  # larger images are made smaller; 0: never
    xfeat_weights: str = "xfeat"  # name in the catalogue, or path of a file

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0 or self.detection_threshold < 0:
            raise ConfigError("xfeat needs max_keypoints >= 1, max_side_px >= 0 and detection_threshold >= 0")
        if not -1 <= self.min_similarity <= 1:
            raise ConfigError(f"xfeat needs min_similarity in [-1, 1], got {self.min_similarity}")


class XFeat(XFeatMatcher):
    """XFeat with mutual nearest neighbours, the sparse setting of the paper."""

    name: ClassVar[str] = "xfeat"
    weight_fields: ClassVar[tuple[str, ...]] = ("xfeat_weights",)

    def __init__(self, config: XFeatConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: XFeatConfig = config

    def _build(self, device: Any) -> tuple[Any, Any]:
        from gim.matchers.nn.descriptor_matching import MutualCosineMatcher  # noqa: PLC0415 - torch on use

        return self._extractor(device), MutualCosineMatcher(device, self.config.min_similarity)
