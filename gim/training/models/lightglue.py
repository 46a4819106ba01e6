"""LightGlue on frozen SuperPoint or ALIKED features.

Posed data and homographies: minus the log likelihood of matches and of keypoints without one, half each, averaged over
the assignments of all layers (Lindenberger et al., ICCV 2023, Eq. 11). Video labels: minus the mean log assignment at
the labels (GIM, Shen et al., ICLR 2024, Sec. 4); of what has no label nothing is said. With `model.confidence` the
cross entropy of "this layer already chooses as the last" is added, which trains the heads of early stopping alone
(LightGlue, Sec. 3.3).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.training.models._assignment_config import LightGlueConfig
from gim.training.models._assignment_extractor import check_extractor, superpoint_state
from gim.training.models._assignment_lightglue import LightGlueTrainable
from gim.training.models._settings import model_settings
from gim.weights.checkpoint import StateDict
from gim.weights.config import WeightsConfig


class SuperPointLightGlue(LightGlueTrainable):
    """Published as GIM's file: `superpoint.` and `model.`."""

    architecture: ClassVar[str] = "lightglue"
    matcher: ClassVar[str] = "superpoint_lightglue"
    prefix: ClassVar[str] = "model."
    descriptor_length: ClassVar[int] = 256
    extractor_setting: ClassVar[str] = ""  # in the same file

    def __init__(self, config: LightGlueConfig, weights: WeightsConfig | None = None) -> None:
        """`weights`: where SuperPoint's are looked for, which are published along."""
        super().__init__(config)
        self._weights = weights or WeightsConfig()

    def published(self, state: StateDict) -> StateDict:
        return superpoint_state(self.config.extractor_weights, self._weights) | super().published(state)

    def load_published(self, state: StateDict, source: str) -> None:
        check_extractor(state, source, self.config.extractor_weights, self._weights)
        super().load_published(state, source)


class AlikedLightGlue(LightGlueTrainable):
    """Published as LightGlue's own file, without a prefix."""

    architecture: ClassVar[str] = "lightglue"
    matcher: ClassVar[str] = "aliked_lightglue"
    descriptor_length: ClassVar[int] = 128
    extractor_setting: ClassVar[str] = "aliked_weights"


def build(settings: Mapping[str, Any], weights: WeightsConfig | None = None) -> LightGlueTrainable:
    """LightGlue of a recipe's `model.*`, untrained.

    Args:
        settings: see `LightGlueConfig`; `extractor` is superpoint or aliked.
        weights: where SuperPoint's are looked for.

    Raises:
        ConfigError: a setting is not known, or makes no sense.
    """
    config = model_settings(LightGlueConfig, settings, "lightglue")
    match config.extractor:
        case "superpoint":
            return SuperPointLightGlue(config, weights)
        case "aliked":
            return AlikedLightGlue(config)
    hint = "; on XFeat's features it is architecture = xfeat_lighterglue" if config.extractor == "xfeat" else ""
    raise ConfigError(f"lightglue: model.extractor {config.extractor!r} is not superpoint or aliked{hint}")
