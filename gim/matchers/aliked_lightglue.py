"""ALIKED features matched by LightGlue: permissive, and the strongest of the sparse ones."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._aliked import AlikedMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class AlikedLightGlueConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 2048  # strongest kept, as LightGlue was trained; matching costs its square
    detection_threshold: float = 0.2  # least score, exclusive, as published; 0: the strongest, whatever their score
    filter_threshold: float = 0.1  # least probability of a match, exclusive, as published
    max_side_px: int = 1280  # larger images are made smaller; 0: never. Memory grows with the area
    aliked_weights: str = "aliked_n16"  # LightGlue was trained on this one; or the path of a file
    weights: str = "aliked_lightglue"  # of LightGlue

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0 or self.detection_threshold < 0:
            raise ConfigError("aliked_lightglue needs max_keypoints >= 1, max_side_px >= 0, detection_threshold >= 0")
        if not 0 <= self.filter_threshold <= 1:
            raise ConfigError(f"aliked_lightglue needs filter_threshold in [0, 1], got {self.filter_threshold}")


class AlikedLightGlue(AlikedMatcher):
    """ALIKED and LightGlue (Lindenberger et al., ICCV 2023)."""

    name: ClassVar[str] = "aliked_lightglue"
    weight_fields: ClassVar[tuple[str, ...]] = ("aliked_weights", "weights")

    def __init__(self, config: AlikedLightGlueConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: AlikedLightGlueConfig = config

    def _build(self, device: Any) -> tuple[Any, Any]:
        from gim.matchers.nn.lightglue import load_lightglue  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint  # noqa: PLC0415 - torch on use

        file, extractor = self.files["weights"], self._extractor(device)
        if extractor.descriptor_size != self.descriptor_length:
            raise ConfigError(
                f"aliked_lightglue needs ALIKED with descriptors of length {self.descriptor_length}; those of "
                f"{self.files['aliked_weights'].name} have {extractor.descriptor_size}: use aliked_mnn with it"
            )
        matcher = load_lightglue(
            read_checkpoint(file.path),
            source=file.name,
            device=device,
            inference=self.resources.inference,
            filter_threshold=self.config.filter_threshold,
            input_dim=self.descriptor_length,
        )
        return extractor, matcher
