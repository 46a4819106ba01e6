"""What the matchers on SuperPoint have in common: the features. No matcher by itself."""

from typing import Any, ClassVar

from gim.matchers._two_stage import TwoStageMatcher


class SuperPointMatcher(TwoStageMatcher):
    """Features by SuperPoint; its weights stand in a file of their own or in the matcher's."""

    extractor: ClassVar[str] = "superpoint"
    extractor_fields: ClassVar[tuple[str, ...]] = (
        "max_keypoints",
        "nms_radius_px",
        "detection_threshold",
        "max_side_px",
    )
    descriptor_length: ClassVar[int] = 256

    @property
    def weights_of_extractor(self) -> tuple[str, ...]:
        return ("superpoint_weights",) if "superpoint_weights" in self.files else ("weights",)

    def _extractor(self, state: Any, source: str, device: Any) -> Any:
        """The extractor of this configuration, from the tensors of a file."""
        from gim.matchers.nn.superpoint import SuperPointExtractor, load_superpoint  # noqa: PLC0415 - torch on use

        return SuperPointExtractor(
            load_superpoint(state, source=source, device=device),
            self.resources.inference,
            max_keypoints=self.config.max_keypoints,
            nms_radius_px=self.config.nms_radius_px,
            detection_threshold=self.config.detection_threshold,
            max_side_px=self.config.max_side_px,
        )
