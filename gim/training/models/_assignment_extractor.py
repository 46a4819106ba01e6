"""The frozen SuperPoint that is published in one file with what was trained on it."""

import torch

from gim.errors import InvalidInput
from gim.matchers.nn.superpoint import SuperPoint
from gim.weights.checkpoint import StateDict, read_checkpoint, select
from gim.weights.config import WeightsConfig
from gim.weights.files import find_weights

PREFIX = "superpoint."
_PUBLISHED = "superpoint_v1"  # of the catalogue


def superpoint_state(name: str, weights: WeightsConfig) -> StateDict:
    """SuperPoint's 24 tensors under the names of GIM's file.

    Args:
        name: of the catalogue, or a file, GIM's own included; empty: the published weights.
        weights: where it is looked for.

    Raises:
        InvalidInput: the file holds no SuperPoint.
        ConfigError, LicenceRefused, Unavailable: see `find_weights`.
    """
    file = find_weights(name or _PUBLISHED, weights)
    found = select(read_checkpoint(file.path), PREFIX)
    if set(found) != set(SuperPoint().state_dict()):
        raise InvalidInput(f"weights {file.name}: hold no SuperPoint; set model.extractor_weights to a file that does")
    return {f"{PREFIX}{key}": tensor for key, tensor in found.items()}


def check_extractor(state: StateDict, source: str, name: str, weights: WeightsConfig) -> None:
    """Return where a file to start from holds no SuperPoint, or the one whose features are trained on.

    Raises:
        InvalidInput: it holds another.
    """
    given = {key: tensor for key, tensor in state.items() if key.startswith(PREFIX)}
    if not given:
        return
    used = superpoint_state(name, weights)
    if set(given) != set(used) or not all(torch.equal(given[key].to(used[key]), used[key]) for key in given):
        raise InvalidInput(
            f"weights {source}: were trained on their own SuperPoint, not on {name or _PUBLISHED}: set "
            "model.extractor_weights to the same file"
        )
