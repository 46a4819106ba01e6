"""Finds and loads segmenters by name: a file `gim/video/segmenters/<name>.py` with one Segmenter class IS the
registration. The files import torch on use only, so that looking at them costs nothing.
"""

import importlib
import importlib.util
import inspect
from pathlib import Path

from gim.errors import ConfigError
from gim.inference.config import InferenceConfig
from gim.spelling import did_you_mean
from gim.video.config import SegmenterConfig
from gim.video.segmenter import Segmenter
from gim.weights.config import WeightsConfig

_NO_INFERENCE = InferenceConfig()
_NO_WEIGHTS = WeightsConfig()
_PACKAGE = "gim.video.segmenters"
_NOT_SEGMENTERS = frozenset({"__init__", "network", "registry", "vocabulary"})


def segmenter_names() -> list[str]:
    """Names of all segmenters, whether or not they can run here, ascending."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_SEGMENTERS)


def segmenter_class(name: str) -> type[Segmenter]:
    """The one Segmenter class of the file `<name>.py`.

    Raises:
        ConfigError: no such file, or it does not hold exactly one such class.
    """
    names = segmenter_names()
    if name not in names:
        hint = did_you_mean(name, names, least_similarity=0.5)
        raise ConfigError(f"segmenter.name = {name!r}: no such segmenter{hint}; there are: {', '.join(names)}")
    module = importlib.import_module(f"{_PACKAGE}.{name}")
    own = [item for item in vars(module).values() if inspect.isclass(item) and item.__module__ == module.__name__]
    classes = [item for item in own if issubclass(item, Segmenter)]
    if len(classes) != 1 or classes[0].name != name:
        raise ConfigError(f"{module.__name__} must hold exactly one Segmenter class, with name {name!r}")
    return classes[0]


def segmenter_status(name: str) -> str:
    """Why a segmenter cannot run here, in one line; empty when it can, given its weights.

    Raises:
        ConfigError: there is no such file.
    """
    missing = [package for package in segmenter_class(name).requires if importlib.util.find_spec(package) is None]
    return f"needs {', '.join(missing)}, not installed" if missing else ""


def load_segmenter(
    config: SegmenterConfig, inference: InferenceConfig = _NO_INFERENCE, weights: WeightsConfig = _NO_WEIGHTS
) -> Segmenter | None:
    """The segmenter the settings name; None where they name none.

    Raises:
        ConfigError: no segmenter of that name, it cannot run here, or it does not know a class it is to mask.
        InvalidInput, Unavailable, LicenceRefused: its weights; see `gim.weights.files.find_weights`.
    """
    if not config.name:
        return None
    if reason := segmenter_status(config.name):
        raise ConfigError(f"segmenter {config.name!r} cannot run here: {reason}")
    return segmenter_class(config.name)(config, inference, weights)
