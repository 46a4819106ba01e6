"""The small LightGlue on frozen XFeat features: permissive, trains on a processor.

Losses are LightGlue's, see `gim.training.models.lightglue`. Sizes are by default those of XFeat's authors' LighterGlue
(6 layers, width 96, one head).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.training.models._assignment_config import LightGlueConfig
from gim.training.models._assignment_lightglue import LightGlueTrainable
from gim.training.models._settings import model_settings
from gim.weights.config import WeightsConfig

_SIZES = {"extractor": "xfeat", "layers": 6, "width": 96, "heads": 1}


class XFeatLighterGlue(LightGlueTrainable):
    """Published as its authors' file: `matcher.`, without the extractor."""

    architecture: ClassVar[str] = "xfeat_lighterglue"
    matcher: ClassVar[str] = "xfeat_lighterglue"
    prefix: ClassVar[str] = "matcher."
    descriptor_length: ClassVar[int] = 64
    extractor_setting: ClassVar[str] = "xfeat_weights"


def build(settings: Mapping[str, Any], _weights: WeightsConfig | None = None) -> XFeatLighterGlue:
    """LighterGlue of a recipe's `model.*`, untrained.

    Raises:
        ConfigError: a setting is not known, or makes no sense.
    """
    config = model_settings(LightGlueConfig, _SIZES | dict(settings), "xfeat_lighterglue")
    if config.extractor != "xfeat":
        raise ConfigError(
            f"xfeat_lighterglue: model.extractor {config.extractor!r} is not xfeat; others are architecture = lightglue"
        )
    return XFeatLighterGlue(config)
