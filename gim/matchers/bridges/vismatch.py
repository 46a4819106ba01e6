"""The bridge to the package vismatch (formerly image-matching-models): its models as matchers `vismatch:<name>`.

The user installs the package; it fetches its own weights. Naming, listing and refusing its models imports none of it.
"""

import ast
import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from gim.errors import ConfigError, GimError, InvalidInput, LicenceRefused, Unavailable, UnknownMatcher
from gim.geometry.colour import check_image, to_rgb
from gim.geometry.pixels import PixelMap, from_corner_origin, network_size, resize_image
from gim.matchers.base import is_usable
from gim.matchers.network import ModelResources, NetworkMatcher
from gim.python_parser import parse_source
from gim.records import Correspondences, Float32Array, ImagePair, Teacher, TeacherWeights, Uint8Array

PREFIX = "vismatch:"
_PACKAGE = "vismatch"
_LICENCE = "unknown: see the package"
_MISSING = "needs the package vismatch: pip install vismatch (it pins its own kornia: use an environment of its own)"
_OFFLINE_VARIABLE = "HF_HUB_OFFLINE"  # of huggingface_hub, with which the package fetches most of its weights


@dataclass(frozen=True, slots=True)
class VismatchConfig:
    """What is asked of the package's model."""

    max_keypoints: int = 2048  # the package's own default; models without keypoints ignore it
    max_side_px: int = 1024  # larger images are made smaller, for most of its models do not; 0: never
    # What a model's position (0, 0) is: the middle of the first pixel, or its corner. Some of the package's models do
    # the one, some the other, and it does not say which.
    origin: Literal["centre", "corner"] = "centre"

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.max_side_px < 0:
            raise ConfigError("vismatch needs max_keypoints >= 1 and max_side_px >= 0")


def vismatch_status() -> str:
    """Why the bridge cannot be crossed, in one line; empty when the package is installed."""
    return "" if _PACKAGE in sys.modules or importlib.util.find_spec(_PACKAGE) else _MISSING


def vismatch_models() -> list[str]:
    """The names of the package's models, in its order; none where it is not installed.

    Raises:
        UnknownMatcher: the package cannot be imported, where that is the only way to know.
    """
    if vismatch_status():
        return []
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    source = Path(spec.origin) if spec and spec.origin else None
    listed = _literal(source, "available_models") if source and source.suffix == ".py" else None
    return [str(name) for name in listed or _imported().available_models]


def vismatch_class(model: str) -> type["VismatchMatcher"]:
    """The matcher class of one of the package's models, by a name that `vismatch_models` lists."""
    names = {"name": f"vismatch-{model}", "model": model, "__module__": __name__}
    return type(f"VismatchMatcher[{model}]", (VismatchMatcher,), names)


class VismatchMatcher(NetworkMatcher):
    """One model of the package; `vismatch_class` makes the class that knows which.

    Its name is the one in ids, where `vismatch:<name>` could not stand. The precision of the settings is not applied:
    each model of the package chooses its own.
    """

    model: ClassVar[str]
    dense: ClassVar[bool] = True  # keypoints, where it has any, are its own affair: nothing is reused over pairs
    licence: ClassVar[str] = _LICENCE
    weight_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: VismatchConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        self.config: VismatchConfig = config
        if resources.weights.licences == "permissive":
            raise LicenceRefused(
                f"matcher {self._address}: the package does not say the licence of its weights, and weights.licences "
                "is permissive; --set weights.licences=any allows them"
            )
        if resources.weights.offline and not _is_set(_OFFLINE_VARIABLE):
            raise ConfigError(
                f"matcher {self._address}: the package fetches its own weights, and weights.offline is set; set "
                f"{_OFFLINE_VARIABLE}=1 in the environment too, and it uses those it has fetched before"
            )
        self._version = _version()

    @property
    def identity(self) -> tuple[Any, ...]:
        """Name, revision, configuration and the package's version, which is all that can be known of its weights."""
        return (self.name, self.revision, self.config, self._version)

    @property
    def teacher(self) -> Teacher:
        return Teacher(self.name, self.licence, (TeacherWeights(f"{self._address} {self._version}", "", _LICENCE),))

    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]:
        for pair in pairs:
            check_image(pair.image0, pair.mask0)
            check_image(pair.image1, pair.mask1)
        return [self._match(pair) for pair in pairs]

    @property
    def _address(self) -> str:
        return f"{PREFIX}{self.model}"

    def _build(self, device: Any) -> Any:
        with _spoken_for(self._address, "cannot be loaded", UnknownMatcher), contextlib.redirect_stdout(sys.stderr):
            # What the package prints while it fetches is no part of what a command prints.
            network = _imported().get_matcher(
                self.model, device=str(device), max_num_keypoints=self.config.max_keypoints
            )
        network.skip_ransac = True  # nobody asks for its homography
        return network.eval()

    def _match(self, pair: ImagePair) -> Correspondences:
        sides = ((pair.image0, pair.mask0), (pair.image1, pair.mask1))
        if any(self._shape(side) is None for side in sides):
            return Correspondences.none()
        prepared = [self._prepared(*side) for side in sides]
        images = (prepared[0][0], prepared[1][0])
        with self._lock:
            network = self.network
            fault = f"failed on images of {_size(pair.image0)} and {_size(pair.image1)}"
            with _spoken_for(self._address, fault, InvalidInput):
                # A batch of one: for the clear word when it does not fit.
                ((keypoints0, keypoints1, confidence),) = self._batches.apply(
                    lambda batch: [self._forward(network, *item) for item in batch], [images]
                )
        positions = [
            self._in_given(keypoints, to_given)
            for keypoints, (_, to_given) in zip((keypoints0, keypoints1), prepared, strict=True)
        ]
        return _kept(np.hstack(positions), confidence, sides)

    def _prepared(self, image: Uint8Array, mask: Uint8Array | None) -> tuple[Uint8Array, PixelMap]:
        """The image as the model sees it, RGB, and the way back from its pixels."""
        colour = to_rgb(image)
        shown = colour if mask is None else np.where(mask[:, :, None] > 0, colour, np.uint8(0))
        size = network_size(image.shape[1], image.shape[0], max_side_px=self.config.max_side_px)
        resized, to_resized = resize_image(shown, size)
        return resized, to_resized.inverse()

    def _forward(self, network: Any, image0: Uint8Array, image1: Uint8Array) -> tuple[Any, Any, Any]:
        """Positions [N, 2] in both images and their confidence [N] or None, as the model has them."""
        import torch  # noqa: PLC0415 - torch on use

        tensors = [
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(self.device).float() / 255
            for image in (image0, image1)
        ]
        # Some of its models draw from torch's own generator; the same pair shall give the same matches.
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(0)
            found = network(*tensors)
        return found["matched_kpts0"], found["matched_kpts1"], found.get("matched_confidences")

    def _in_given(self, keypoints: Any, to_given: PixelMap) -> Float32Array:
        positions = np.asarray(keypoints, np.float64).reshape(-1, 2)
        return to_given.apply(from_corner_origin(positions) if self.config.origin == "corner" else positions)


def _kept(
    points: Float32Array, confidence: Any, sides: Sequence[tuple[Uint8Array, Uint8Array | None]]
) -> Correspondences:
    """The rows [N, 4] on usable pixels of both images, each once, with the confidence it is surest with."""
    given = np.ones(len(points)) if confidence is None else np.nan_to_num(np.asarray(confidence, np.float64))
    sure = np.clip(given, 0, 1).astype(np.float32)
    is_kept = np.asarray(np.isfinite(points).all(axis=1))
    for keypoints, (image, mask) in zip((points[:, :2], points[:, 2:]), sides, strict=True):
        is_kept[is_kept] = is_usable(keypoints[is_kept], image.shape, mask)
    points, sure = points[is_kept], sure[is_kept]
    surest_first = np.argsort(-sure, kind="stable")
    _, first = np.unique(points[surest_first], axis=0, return_index=True)
    rows = np.sort(surest_first[first])
    return Correspondences(points[rows], sure[rows])


def _imported() -> Any:
    with _spoken_for(f"the package {_PACKAGE}", "cannot be imported", UnknownMatcher):
        return importlib.import_module(_PACKAGE)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - with all of e-mail, on use

    try:
        return version(_PACKAGE)
    except PackageNotFoundError:  # it is on the path, but nobody installed it
        return str(getattr(_imported(), "__version__", "unknown"))


@contextlib.contextmanager
def _spoken_for(what: str, fault: str, kind: type[GimError]) -> Iterator[None]:
    """Say in one line that the package failed, and at what."""
    try:
        yield
    except GimError:
        raise
    except Exception as error:  # nobody knows what 70 models raise
        reason = (str(error).strip().splitlines() or [""])[0]
        away = isinstance(error, OSError)  # of the network or of a disk
        raise (Unavailable if away else kind)(f"{what} {fault}: {type(error).__name__}: {reason}") from error


def _literal(source: Path, name: str) -> list[Any] | None:
    """The list that a file assigns to a name, read without running it; None where it holds none."""
    for node in parse_source(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if name in targets and all(isinstance(item, ast.Constant) for item in node.value.elts):
                return [item.value for item in node.value.elts if isinstance(item, ast.Constant)]
    return None


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it


def _size(image: Uint8Array) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
