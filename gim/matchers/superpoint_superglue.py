"""SuperPoint features matched by SuperGlue, with the published weights of both."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._superpoint import SuperPointMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class SuperPointSuperGlueConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 2048  # strongest kept; the paper's number outdoors. Matching costs its square
    nms_radius_px: int = 4  # half the side of the square in which only the strongest stays, as the paper has it
    detection_threshold: float = 0.005  # least probability of a keypoint, exclusive, as the paper has it
    max_side_px: int = 1600  # larger images are made smaller; 0: never. Memory grows with the area
    match_threshold: float = 0.2  # least probability of a match, exclusive; the paper's
    sinkhorn_iterations: int = 100  # the paper's; fewer are quicker, and some matches are others
    weights: str = "superglue_outdoor"  # of SuperGlue; for research only
    superpoint_weights: str = "superpoint_v1"  # of SuperPoint; for research only

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.nms_radius_px < 0 or self.max_side_px < 0:
            raise ConfigError("superpoint_superglue needs max_keypoints >= 1, nms_radius_px >= 0 and max_side_px >= 0")
        if self.detection_threshold < 0 or not 0 <= self.match_threshold <= 1:
            raise ConfigError("superpoint_superglue needs detection_threshold >= 0 and match_threshold in [0, 1]")
        if self.sinkhorn_iterations < 1 or not self.superpoint_weights:
            raise ConfigError("superpoint_superglue needs sinkhorn_iterations >= 1 and superpoint_weights")


class SuperPointSuperGlue(SuperPointMatcher):
    """SuperPoint (DeTone et al., CVPR-W 2018) and SuperGlue (Sarlin et al., CVPR 2020).

    The code is ours, from the papers; published weights of both are for research only.
    """

    name: ClassVar[str] = "superpoint_superglue"
    weight_fields: ClassVar[tuple[str, ...]] = ("weights", "superpoint_weights")

    def __init__(self, config: SuperPointSuperGlueConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: SuperPointSuperGlueConfig = config

    def _build(self, device: Any) -> Any:
        from gim.matchers.nn.superglue import load_superglue  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint, select  # noqa: PLC0415 - torch on use

        file, detector_file = self.files["weights"], self.files["superpoint_weights"]
        matcher = load_superglue(
            select(read_checkpoint(file.path), "superglue.", drop=("superpoint.",)),
            source=file.name,
            device=device,
            inference=self.resources.inference,
            match_threshold=self.config.match_threshold,
            sinkhorn_iterations=self.config.sinkhorn_iterations,
        )
        superpoint = select(read_checkpoint(detector_file.path), "superpoint.")
        return self._extractor(superpoint, detector_file.name, device), matcher
