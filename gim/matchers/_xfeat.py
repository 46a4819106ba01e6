"""What the matchers on XFeat have in common: the features. No matcher by itself."""

from typing import Any, ClassVar

from gim.matchers._two_stage import TwoStageMatcher


class XFeatMatcher(TwoStageMatcher):
    """Features by XFeat (Potje et al., CVPR 2024), code and weights Apache-2.0."""

    extractor: ClassVar[str] = "xfeat"
    extractor_weights: ClassVar[tuple[str, ...]] = ("xfeat_weights",)
    descriptor_length: ClassVar[int] = 64

    def _extractor(self, device: Any) -> Any:
        from gim.matchers.nn.xfeat import XFeatExtractor, load_xfeat  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint, select  # noqa: PLC0415 - torch on use

        file, config = self.files["xfeat_weights"], self.config
        network = load_xfeat(
            select(read_checkpoint(file.path), "net.", "extractor."),
            source=file.name,
            device=device,
            detection_threshold=config.detection_threshold,
        )
        return XFeatExtractor(network, max_keypoints=config.max_keypoints, max_side_px=config.max_side_px)
