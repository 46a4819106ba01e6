"""Which weights of others a run's weights are made with, and which they do not run without.

Roles: "start", what training began with; "backbone", a part of it that was trained before; "features", the frozen
extractor whose keypoints it saw; "beside", what the matcher loads besides. Those that a file embeds count likewise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gim.errors import UnknownMatcher
from gim.matchers.network import NetworkMatcher
from gim.matchers.registry import config_class, described_class
from gim.records import CheckpointManifest, UsedWeights
from gim.weights.config import WeightsConfig
from gim.weights.files import find_weights
from gim.weights.spec import WeightsFile

_BACKBONE = "backbone_weights"  # of `model.*`: see gim.training.models


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What a run is made with, as it knows itself."""

    start: UsedWeights | None = None
    model: Mapping[str, Any] = field(default_factory=dict)  # the recipe's `model.*`
    extractor: WeightsFile | None = None  # frozen, that it saw images through


def used_weights(
    template: CheckpointManifest, made_with: Ingredients, config: WeightsConfig, weights_setting: str = "weights"
) -> tuple[UsedWeights, ...]:
    """All weights that had a part in a run's, in the order of the roles above.

    Args:
        template: names the matcher and the settings that the weights go with.
        made_with: what the run knows of itself.
        config: where weights lie.
        weights_setting: of the matcher, that names the weights which the run makes.

    Raises:
        ConfigError, InvalidInput, LicenceRefused, Unavailable: see `find_weights`.
    """
    found = [made_with.start] if made_with.start else []
    if name := made_with.model.get(_BACKBONE):
        found.append(_used("backbone", find_weights(str(name), config)))
    if made_with.extractor:
        found.append(_used("features", made_with.extractor))
    known = {item.sha256 for item in found}
    beside = [_used("beside", find_weights(name, config)) for name in _beside(template, weights_setting)]
    return (*found, *(item for item in beside if item.sha256 not in known))


def _used(role: str, file: WeightsFile) -> UsedWeights:
    return UsedWeights(role, file.name, file.sha256, file.licence)


def _beside(template: CheckpointManifest, weights_setting: str) -> Iterator[str]:
    """What the matcher loads besides, under the settings that the weights go with."""
    try:
        kind = described_class(template.matcher)
    except UnknownMatcher:  # an architecture that no matcher of ours runs
        return
    if issubclass(kind, NetworkMatcher):
        config = config_class(kind)(**{**template.settings, weights_setting: ""})
        yield from kind.weight_names(config)
