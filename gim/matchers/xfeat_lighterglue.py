"""XFeat features matched by LighterGlue, a small LightGlue: permissive, usable on a CPU."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers._xfeat import XFeatMatcher
from gim.matchers.network import ModelResources


@dataclass(frozen=True, slots=True)
class XFeatLighterGlueConfig:
    """What is detected and what counts as a match."""

    max_keypoints: int = 2048  # strongest kept; matching costs its square
    detection_threshold: float = 0.05  # least probability of a keypoint, exclusive, as published
    filter_threshold: float = 0.1  # least probability of a match, exclusive
    max_side_px: int = 1600  # larger images are made smaller; 0: never
    xfeat_weights: str = "xfeat"  # name in the catalogue, or path of a file
    weights: str = "xfeat_lighterglue"  # of LighterGlue; its size is told from the file

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0 or self.detection_threshold < 0:
            raise ConfigError("xfeat_lighterglue needs max_keypoints >= 1, max_side_px >= 0, detection_threshold >= 0")
        if not 0 <= self.filter_threshold <= 1:
            raise ConfigError(f"xfeat_lighterglue needs filter_threshold in [0, 1], got {self.filter_threshold}")


class XFeatLighterGlue(XFeatMatcher):
    """XFeat and LighterGlue: its authors' LightGlue of width 96 with one head, or one of ours of any size."""

    name: ClassVar[str] = "xfeat_lighterglue"
    weight_fields: ClassVar[tuple[str, ...]] = ("xfeat_weights", "weights")

    def __init__(self, config: XFeatLighterGlueConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: XFeatLighterGlueConfig = config

    def _build(self, device: Any) -> tuple[Any, Any]:
        from gim.matchers.nn.lightglue import (  # noqa: PLC0415 - torch on use
            early_exit_keys,
            load_lightglue,
            num_layers,
            renamed,
        )
        from gim.weights.checkpoint import read_checkpoint, select  # noqa: PLC0415 - torch on use

        file = self.files["weights"]
        # The published file also holds the XFeat it was trained with.
        state = renamed(select(read_checkpoint(file.path), "matcher.net.", "matcher.", drop=("extractor.",)))
        matcher = load_lightglue(
            state,
            source=file.name,
            device=device,
            inference=self.resources.inference,
            filter_threshold=self.config.filter_threshold,
            may_miss=early_exit_keys(num_layers(state)),
            input_dim=self.descriptor_length,
        )
        return self._extractor(device), matcher
