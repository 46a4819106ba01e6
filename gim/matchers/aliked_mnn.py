"""ALIKED features matched as mutual nearest neighbours: small, permissive, usable on a CPU."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._aliked import AlikedMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class AlikedMnnConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 4096  # strongest kept; matching costs its square
    detection_threshold: float = 0.2  # least score, exclusive, as published; 0: the strongest, whatever their score
    min_similarity: float = 0.8  # least cosine of two descriptors, exclusive
    max_side_px: int = 1280  # larger images are made smaller; 0: never. Memory grows with the area
    aliked_weights: str = "aliked_n16"  # aliked_n16, aliked_n16rot, aliked_n32, aliked_t16, or the path of a file

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0 or self.detection_threshold < 0:
            raise ConfigError("aliked_mnn needs max_keypoints >= 1, max_side_px >= 0 and detection_threshold >= 0")
        if not -1 <= self.min_similarity <= 1:
            raise ConfigError(f"aliked_mnn needs min_similarity in [-1, 1], got {self.min_similarity}")


class AlikedMnn(AlikedMatcher):
    """ALIKED with mutual nearest neighbours."""

    name: ClassVar[str] = "aliked_mnn"
    weight_fields: ClassVar[tuple[str, ...]] = ("aliked_weights",)

    def __init__(self, config: AlikedMnnConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: AlikedMnnConfig = config

    def _build(self, device: Any) -> tuple[Any, Any]:
        from gim.matchers.nn.descriptor_matching import MutualCosineMatcher  # noqa: PLC0415 - torch on use

        return self._extractor(device), MutualCosineMatcher(device, self.config.min_similarity)
