"""What the matchers on ALIKED have in common: the features. No matcher by itself."""

from typing import Any, ClassVar

from gim.matchers._two_stage import TwoStageMatcher


class AlikedMatcher(TwoStageMatcher):
    """Features by ALIKED (Zhao et al., TIM 2023), code and weights BSD-3-Clause."""

    licence: ClassVar[str] = "BSD-3-Clause"
    extractor: ClassVar[str] = "aliked"
    extractor_weights: ClassVar[tuple[str, ...]] = ("aliked_weights",)
    descriptor_length: ClassVar[int] = 128  # of all but t16, which has 64

    @property
    def descriptor_size(self) -> int:
        found: int = self.network[0].descriptor_size
        return found

    def _extractor(self, device: Any) -> Any:
        from gim.matchers.nn.aliked import AlikedExtractor, load_aliked  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint  # noqa: PLC0415 - torch on use

        file, config = self.files["aliked_weights"], self.config
        network = load_aliked(
            read_checkpoint(file.path),
            source=file.name,
            device=device,
            max_keypoints=config.max_keypoints,
            detection_threshold=config.detection_threshold,
            precision=self.resources.inference.precision,
        )
        return AlikedExtractor(network, max_keypoints=config.max_keypoints, max_side_px=config.max_side_px)
