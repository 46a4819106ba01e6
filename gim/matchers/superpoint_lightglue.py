"""SuperPoint features matched by LightGlue: GIM's pair in one file, or the published two."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._superpoint import SuperPointMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class SuperPointLightGlueConfig:
    """What is detected and what counts as a match. Defaults are the original's for labels, but for the image size."""

    max_keypoints: int = 2048  # strongest kept; matching costs its square
    nms_radius_px: int = 3  # half the side of the square in which only the strongest stays, as GIM trained it
    detection_threshold: float = 0.0  # least probability of a keypoint, exclusive; 0: as many as there are
    max_side_px: int = 1600  # larger images are made smaller; 0: never. Memory grows with the area
    filter_threshold: float = 0.1  # least probability of a match, exclusive
    weights: str = "gim_lightglue_100h"  # of LightGlue and, in GIM's file, of SuperPoint; for research only
    superpoint_weights: str = ""  # empty: in the same file; else e.g. superpoint_v1, for research only

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.nms_radius_px < 0 or self.max_side_px < 0:
            raise ConfigError("superpoint_lightglue needs max_keypoints >= 1, nms_radius_px >= 0 and max_side_px >= 0")
        if self.detection_threshold < 0 or not 0 <= self.filter_threshold <= 1:
            raise ConfigError("superpoint_lightglue needs detection_threshold >= 0 and filter_threshold in [0, 1]")


class SuperPointLightGlue(SuperPointMatcher):
    """SuperPoint (DeTone et al., CVPR-W 2018) and LightGlue (Lindenberger et al., ICCV 2023).

    Published weights of SuperPoint, and GIM's of it, are for research only; LightGlue's own are Apache-2.0.
    """

    name: ClassVar[str] = "superpoint_lightglue"
    weight_fields: ClassVar[tuple[str, ...]] = ("weights", "superpoint_weights")

    def __init__(self, config: SuperPointLightGlueConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: SuperPointLightGlueConfig = config

    def _build(self, device: Any) -> Any:
        from gim.matchers.nn.lightglue import load_lightglue  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import read_checkpoint, select  # noqa: PLC0415 - torch on use

        file = self.files["weights"]
        state = read_checkpoint(file.path)
        own_file = self.files.get("superpoint_weights")
        if own_file is None and not any(key.startswith("superpoint.") for key in state):
            raise ConfigError(
                f"weights {file.name} hold no SuperPoint: set superpoint_weights, for instance to superpoint_v1"
            )
        superpoint = select(read_checkpoint(own_file.path) if own_file else state, "superpoint.")
        matcher = load_lightglue(
            select(state, "model.", drop=("superpoint.",)),
            source=file.name,
            device=device,
            inference=self.resources.inference,
            filter_threshold=self.config.filter_threshold,
        )
        return self._extractor(superpoint, (own_file or file).name, device), matcher
