"""What of a posed set is used: options with a meaning of their own for each kind of layout. Reads nothing."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from gim.datasets.manifest import PosedKind
from gim.errors import ConfigError
from gim.spelling import did_you_mean

KINDS: tuple[PosedKind, ...] = get_args(PosedKind)


@dataclass(frozen=True, slots=True)
class PosedOptions:
    """Which scenes and pairs of a set are used, and where its files lie. Paths are relative to the set's folder."""

    scenes: tuple[str, ...] = ()  # only these; empty: all
    without: tuple[str, ...] = ()  # scenes to leave out, such as those of a benchmark
    min_overlap: float = 0.0  # of a pair, 0 to 1, inclusive
    max_overlap: float = 1.0
    overlap_bin: float = 0.1  # a scene with more pairs than `pairs` gives as many of every bin this wide
    pairs: int = 100_000  # of a scene, at most
    lists: str = ""  # folder of the scenes' .npz files; empty: where they usually lie
    frame_step: int = 10  # ScanNet: frames whose number is a multiple of it
    images: str = ""  # COLMAP: folder of the images; empty: `images` in the scene or beside the model
    min_points: int = 64  # COLMAP: that both images of a pair see
    max_error_px: float = 2.0  # COLMAP: reprojection error of a point in either image
    depth: str = "depth"  # folder of a scene's depth maps, named as the images are
    depth_units: float = 1000.0  # of an integer depth map, to one unit of the poses

    def __post_init__(self) -> None:
        if not 0 <= self.min_overlap <= self.max_overlap <= 1:
            raise ConfigError(
                f"overlap from {self.min_overlap:g} to {self.max_overlap:g}: expected 0 <= min_overlap <= "
                "max_overlap <= 1"
            )
        if min(self.pairs, self.frame_step, self.min_points) < 1:
            raise ConfigError("pairs, frame_step and min_points of a posed set are at least 1")
        if min(self.overlap_bin, self.max_error_px, self.depth_units) <= 0:
            raise ConfigError("overlap_bin, max_error_px and depth_units of a posed set are above 0")


_OVERLAP = ("scenes", "without", "min_overlap", "max_overlap", "overlap_bin", "pairs")
_KNOWN: dict[PosedKind, tuple[str, ...]] = {
    "megadepth": (*_OVERLAP, "lists"),
    "scannet": (*_OVERLAP, "lists", "frame_step"),
    "colmap": (*_OVERLAP, "images", "min_points", "max_error_px"),
    "posed": (*_OVERLAP, "depth", "depth_units"),
}
# GIM's own (reference/gim.md, 3a): overlap 0.01-0.7 in bins of 0.1, at most 100,000 pairs of a scene of MegaDepth;
# overlap to 0.7, at most 10,000 pairs and every tenth frame of a scene of ScanNet. The others are ours.
_DEFAULTS: dict[PosedKind, dict[str, Any]] = {
    "megadepth": {"min_overlap": 0.01, "max_overlap": 0.7, "pairs": 100_000},
    "scannet": {"max_overlap": 0.7, "pairs": 10_000},
    "colmap": {"min_overlap": 0.1, "max_overlap": 0.7, "pairs": 10_000},
    "posed": {},
}


def options_of(kind: PosedKind, given: Mapping[str, Any]) -> PosedOptions:
    """The options of a set: what was given, and for the rest what its kind begins with.

    Args:
        kind: of layout.
        given: values by name, as text or typed; several scenes in a text are joined by `+`.

    Raises:
        ConfigError: no such option of this kind, or a value that it cannot have.
    """
    for name in given:
        if name not in _KNOWN[kind]:
            hint = did_you_mean(name, _KNOWN[kind])
            raise ConfigError(f"posed set of kind {kind}: no option {name!r}{hint}; it has {', '.join(_KNOWN[kind])}")
    types = {field.name: field.type for field in dataclasses.fields(PosedOptions)}
    values = {name: _typed(types[name], f"{kind}, option {name}", value) for name, value in given.items()}
    return PosedOptions(**{**_DEFAULTS[kind], **values})


def described(kind: PosedKind, options: PosedOptions) -> dict[str, Any]:
    """All options that a kind knows, as plain values: `options_of` makes the same options of them."""
    values = {name: getattr(options, name) for name in _KNOWN[kind]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _typed(kind: Any, where: str, value: Any) -> Any:
    if kind == tuple[str, ...] and isinstance(value, str):
        value = [part for part in value.split("+") if part]
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"posed set, {where} = {value!r}: {error.errors()[0]['msg'].lower()}") from error
