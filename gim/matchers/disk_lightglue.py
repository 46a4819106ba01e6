"""DISK features matched by LightGlue: permissive."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._two_stage import TwoStageMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class DiskLightGlueConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 2048  # strongest kept, as LightGlue was trained; matching costs its square
    detection_threshold: float = 0.0  # least logit of a keypoint, exclusive, as published
    filter_threshold: float = 0.1  # least probability of a match, exclusive, as published
    max_side_px: int = 1280  # larger images are made smaller; 0: never. Memory grows with the area
    disk_weights: str = "disk"  # name in the catalogue, or path of a file
    weights: str = "disk_lightglue"  # of LightGlue

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0 or not 0 <= self.filter_threshold <= 1:
            raise ConfigError("disk_lightglue needs max_keypoints >= 1, max_side_px >= 0, filter_threshold in [0, 1]")


class DiskLightGlue(TwoStageMatcher):
    """DISK (Tyszkiewicz et al., NeurIPS 2020) and LightGlue (Lindenberger et al., ICCV 2023)."""

    name: ClassVar[str] = "disk_lightglue"
    weight_fields: ClassVar[tuple[str, ...]] = ("disk_weights", "weights")
    extractor: ClassVar[str] = "disk"
    extractor_weights: ClassVar[tuple[str, ...]] = ("disk_weights",)
    descriptor_length: ClassVar[int] = 128

    def __init__(self, config: DiskLightGlueConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: DiskLightGlueConfig = config

    def _build(self, device: Any) -> tuple[Any, Any]:
        from gim.matchers.nn.disk import DiskExtractor, load_disk  # noqa: PLC0415 - torch on use
        from gim.matchers.nn.lightglue import load_lightglue  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint, select  # noqa: PLC0415 - torch on use

        config, file, own = self.config, self.files["disk_weights"], self.files["weights"]
        state = select(read_checkpoint(file.path), "extractor.")
        extractor = DiskExtractor(
            load_disk(state, source=file.name, device=device),
            detection_threshold=config.detection_threshold,
            max_keypoints=config.max_keypoints,
            max_side_px=config.max_side_px,
        )
        matcher = load_lightglue(
            read_checkpoint(own.path),
            source=own.name,
            device=device,
            inference=self.resources.inference,
            filter_threshold=config.filter_threshold,
            input_dim=self.descriptor_length,
        )
        return extractor, matcher
