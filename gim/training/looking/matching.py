"""From weights in training to the matcher that they are published for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources, NetworkMatcher
from gim.matchers.registry import load_matcher
from gim.training.models.base import Trainable
from gim.weights.checkpoint import StateDict


@contextmanager
def matcher_of(model: Trainable, published: StateDict, resources: ModelResources) -> Iterator[Matcher]:
    """The matcher with weights in its own layout, for as long as the block runs.

    Args:
        model: says which matcher, and with which settings.
        published: as `Trainable.published` gives them.
        resources: where networks run, and where weights that are not trained are found.

    Raises:
        As `gim.matchers.registry.load_matcher`.
    """
    with TemporaryDirectory(prefix="gim-looking-") as folder:
        path = Path(folder) / "weights.ckpt"
        torch.save(dict(published), path)
        # Of the run itself, whatever licence it will say: nothing is given to anybody here.
        own = replace(resources, weights=replace(resources.weights, licences="any"))
        settings = {**model.matcher_settings(), model.weights_setting: str(path)}
        matcher = load_matcher(model.matcher, settings, own)
        if isinstance(matcher, NetworkMatcher):
            _ = matcher.network  # read while the file is there
        yield matcher
