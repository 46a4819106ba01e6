"""Weight files for tests of matchers that are networks: one module per matcher, named like it.

A module has `make(folder, shared) -> Files`: it writes what the matcher needs into `folder`, in the layout of the
published files, or names real files below `shared` (None where the sample data is absent). It may also have

- `IS_TRAINED = True`: with `shared`, the files are real ones;
- `IS_SLOW = True`: making them takes a minute;
- `ACCURACY = Accuracy(...)`: how exact the network's own positions are, where that is worse than the suite's bounds.
"""

import importlib
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Files:
    """How to load one matcher in a test."""

    settings: dict[str, Any] = field(default_factory=dict)  # of the matcher; small sizes, paths of weight files
    are_real: bool = True  # trained, so that what it finds is right; else filled by rule, and only form can be judged


@dataclass(frozen=True)
class Accuracy:
    """What a trained network's positions are worth by themselves; measured, with the reason beside it."""

    median_px: float  # distance from the truth, on photographs of one scale
    bias_px: float  # mean error in x or in y, of matches within 1.5 px; a half-pixel mistake costs 0.17 between scales
    scaled_share: float = 0.9  # of matches between scales 1.5 apart within 3 px
    epipolar_share: float = 0.85  # of matches of the real pair within 2 px of the epipolar line; no fit precedes it


def matcher_module(name: str) -> Any:
    """The module of the matcher of this name, or None."""
    if importlib.util.find_spec(f"{__name__}.{name}") is None:
        return None
    return importlib.import_module(f"{__name__}.{name}")


def is_trained(name: str, *, with_shared: bool) -> bool:
    """Whether what the matcher finds is right: it was trained, or needs no training."""
    module = matcher_module(name)
    return module is None or (with_shared and getattr(module, "IS_TRAINED", False))


def files_of(name: str, folder: Path, shared: Path | None) -> Files:
    """What the matcher of this name needs; nothing where it has no module here."""
    module = matcher_module(name)
    return Files() if module is None else module.make(folder, shared)
