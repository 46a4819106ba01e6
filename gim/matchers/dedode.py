"""DeDoDe: a detector of its own beside a descriptor of its own; permissive."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._two_stage import TwoStageMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class DedodeConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 4096  # strongest kept; matching costs its square
    match_threshold: float = 0.01  # least confidence of the dual soft-max, exclusive, as published
    max_side_px: int = 784  # larger images are made smaller, to the published size; 0: never
    detector_weights: str = "dedode_detector"  # of the detector L
    descriptor_weights: str = "dedode_descriptor_b"  # of the descriptor B

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0 or not 0 <= self.match_threshold < 1:
            raise ConfigError("dedode needs max_keypoints >= 1, max_side_px >= 0 and match_threshold in [0, 1)")


class Dedode(TwoStageMatcher):
    """DeDoDe (Edstedt et al., 3DV 2024), detector L and descriptor B."""

    name: ClassVar[str] = "dedode"
    licence: ClassVar[str] = "MIT"
    weight_fields: ClassVar[tuple[str, ...]] = ("detector_weights", "descriptor_weights")
    extractor: ClassVar[str] = "dedode"
    extractor_fields: ClassVar[tuple[str, ...]] = ("max_keypoints", "max_side_px")
    extractor_weights: ClassVar[tuple[str, ...]] = ("detector_weights", "descriptor_weights")
    descriptor_length: ClassVar[int] = 256

    def __init__(self, config: DedodeConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: DedodeConfig = config

    def _build(self, device: Any) -> tuple[Any, Any]:
        from gim.matchers.nn.dedode import INVERSE_TEMPERATURE, DedodeExtractor, load_dedode  # noqa: PLC0415 - on use
        from gim.matchers.nn.descriptor_matching import DualSoftmaxMatcher  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint  # noqa: PLC0415 - torch on use

        files = self.files["detector_weights"], self.files["descriptor_weights"]
        network = load_dedode(
            *(read_checkpoint(file.path) for file in files),
            sources=(files[0].name, files[1].name),
            device=device,
            precision=self.resources.inference.precision,
        )
        config = self.config
        extractor = DedodeExtractor(network, max_keypoints=config.max_keypoints, max_side_px=config.max_side_px)
        return extractor, DualSoftmaxMatcher(device, config.match_threshold, INVERSE_TEMPERATURE)
