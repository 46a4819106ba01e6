"""`gim match`: two images in; their correspondences drawn, one image warped onto the other, and the numbers out."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from gim import codecs
from gim.cli._options import ConfigOption, JsonOption, SetOption, load_settings
from gim.errors import CorruptObject, InvalidInput, Unavailable
from gim.geometry.draw import draw_correspondences
from gim.geometry.homography import warp_image
from gim.geometry.robust import fit_fundamental, fit_homography
from gim.matchers.registry import load_matcher
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array
from gim.settings import Settings

_HOMOGRAPHY_THRESHOLD_PX = 8.0  # as in the original's demo: a scene is rarely one plane
_IMAGE_SUFFIXES = {".png": codecs.encode_png, ".jpg": codecs.encode_jpeg, ".jpeg": codecs.encode_jpeg}


_NO_FRAME_MARKERS = {0xC4, 0xC8, 0xCC}  # of JPEG, among those that begin a frame and state its size


@dataclass(frozen=True, slots=True)
class _Match:
    """What `--npz` stores."""

    correspondences: Float32Array  # [N, 4] rows (x0, y0, x1, y1), pixels, origin at the top-left pixel's centre
    confidence: Float32Array  # [N]
    inliers: BoolArray  # [N] of the fundamental matrix
    F01: Float64Array | None  # [3, 3], x1' F01 x0 = 0
    H01: Float64Array | None  # [3, 3], x1 ~ H01 x0


def register(app: typer.Typer) -> None:
    """Add `gim match`."""
    app.command("match")(match_images)


def match_images(
    image0: Annotated[Path, typer.Argument(metavar="IMAGE0", help="First image.")],
    image1: Annotated[Path, typer.Argument(metavar="IMAGE1", help="Second image.")],
    *,
    matcher: Annotated[str, typer.Option(help="See `gim ls matchers`.", metavar="NAME")] = "rootsift",
    out: Annotated[Path | None, typer.Option(help="Picture of the matches, .png or .jpg.", metavar="FILE")] = None,
    warp: Annotated[
        Path | None, typer.Option(help="Image 1 warped onto image 0 by the fitted homography.", metavar="FILE")
    ] = None,
    npz: Annotated[Path | None, typer.Option(help="Correspondences, inliers and models.", metavar="FILE")] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Match two images, draw the matches, and warp image 1 onto image 0."""
    for path in (out, warp):
        _check_suffix(path)
    for path in (out, warp, npz):
        _check_place(path)
    settings = load_settings(sets, config)
    pixels0, pixels1 = (_read_image(path, settings.limits.max_pixels) for path in (image0, image1))
    start = time.perf_counter()
    match = _match(pixels0, pixels1, matcher, settings)
    seconds = time.perf_counter() - start
    if warp:
        _write(warp, _encode(warp, _warp(pixels0, pixels1, match)))
    if out:
        picture = draw_correspondences(pixels0, pixels1, match.correspondences, match.inliers)
        _write(out, _encode(out, picture))
    if npz:
        _write(npz, codecs.to_npz(match))
    names = {"image0": str(image0), "image1": str(image1), "matcher": matcher}
    written = {name: str(path) for name, path in (("out", out), ("warp", warp), ("npz", npz)) if path}
    _print_summary({**names, **_numbers(match), "seconds": round(seconds, 3), **written}, as_json=as_json)


def _match(image0: Uint8Array, image1: Uint8Array, name: str, settings: Settings) -> _Match:
    found = load_matcher(name, settings.matcher.get(name)).match(image0, image1)
    fit = fit_fundamental(found.points, settings.pairing.fit)
    inliers = fit.inliers if fit else found.confidence < 0  # without a model nothing is an inlier
    plane = fit_homography(found.points[inliers], threshold_px=_HOMOGRAPHY_THRESHOLD_PX)
    return _Match(found.points, found.confidence, inliers, fit.F01 if fit else None, plane.H01 if plane else None)


def _warp(image0: Uint8Array, image1: Uint8Array, match: _Match) -> Uint8Array:
    if match.H01 is None:
        raise InvalidInput(f"no homography fits the {len(match.correspondences)} matches: leave --warp out")
    return warp_image(image1, match.H01, width=image0.shape[1], height=image0.shape[0])


def _numbers(match: _Match) -> dict[str, Any]:
    return {
        "matches": len(match.correspondences),
        "inliers": int(match.inliers.sum()),
        "F01": None if match.F01 is None else match.F01.tolist(),
        "H01": None if match.H01 is None else match.H01.tolist(),
    }


def _print_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    print(f"{summary['matches']} matches, {summary['inliers']} inliers, {summary['seconds']:.2f} s")
    for name in ("out", "warp", "npz"):
        if name in summary:
            print(f"{name}: {summary[name]}")


def _read_image(path: Path, max_pixels: int) -> Uint8Array:
    try:
        data = path.read_bytes()
        _refuse_large(path, declared_size(data), max_pixels)
        image = codecs.decode_image(data)
    except OSError as error:
        raise InvalidInput(f"image {path}: {error.strerror or error}") from error
    except cv2.error as error:  # OpenCV raises its own for a size above its limit
        raise InvalidInput(f"image {path}: not a readable image, or too large") from error
    except CorruptObject as error:
        raise InvalidInput(f"image {path}: not a readable image") from error
    _refuse_large(path, (image.shape[1], image.shape[0]), max_pixels)
    return image


def _refuse_large(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise InvalidInput(f"image {path}: {width}x{height} pixels exceed limits.max_pixels={max_pixels}; shrink it")


def declared_size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNG or JPEG states, before it is decoded; (0, 0) for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if not data.startswith(b"\xff\xd8"):
        return 0, 0
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_MARKERS:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + length
    return 0, 0


def _check_suffix(path: Path | None) -> None:
    if path and path.suffix.lower() not in _IMAGE_SUFFIXES:
        raise InvalidInput(f"cannot write {path}: expected .png, .jpg or .jpeg")


def _check_place(path: Path | None) -> None:
    if path and (path.is_dir() or not path.parent.is_dir()):
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise InvalidInput(f"cannot write {path}: {why}")


def _encode(path: Path, image: Uint8Array) -> bytes:
    return _IMAGE_SUFFIXES[path.suffix.lower()](image)


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Unavailable(f"cannot write {path}: {error.strerror or error}") from error
