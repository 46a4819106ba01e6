"""`gim match`: two images in; their correspondences drawn, warped, triangulated, and the numbers out."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    SetOption,
    StoreOption,
    load_settings,
)
from gim.cli._rpc import CaOption, CertOption, KeyOption, ServerOption
from gim.errors import InvalidInput, Unavailable
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array

if TYPE_CHECKING:
    from gim.matchers.base import Matcher
    from gim.photos.matching import PhotoMatch
    from gim.photos.reading import Photo
    from gim.photos.scene import Camera, PhotoScene
    from gim.settings import Settings

_PICTURES = (".png", ".jpg", ".jpeg")
_ESTIMATED = "estimated"
_DEFAULT = "rootsift"


@dataclass(frozen=True, slots=True)
class _Stored:
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
    matcher: Annotated[
        str | None,
        typer.Option(help="See `gim ls matchers`.", metavar="NAME", show_default="rootsift, or the server's"),
    ] = None,
    server: ServerOption = None,
    out: Annotated[Path | None, typer.Option(help="Picture of the matches, .png or .jpg.", metavar="FILE")] = None,
    warp: Annotated[
        Path | None, typer.Option(help="Image 1 warped onto image 0 by the fitted homography.", metavar="FILE")
    ] = None,
    certainty: Annotated[
        Path | None, typer.Option(help="Picture of what a dense matcher is sure of.", metavar="FILE")
    ] = None,
    two_view: Annotated[
        Path | None, typer.Option(help="Triangulated points and both cameras, .ply.", metavar="FILE")
    ] = None,
    k0: Annotated[
        str, typer.Option(help="Intrinsics of camera 0, pixels, for --two-view.", metavar="FX,FY,CX,CY")
    ] = _ESTIMATED,
    k1: Annotated[
        str, typer.Option(help="Of camera 1; as --k0 where the sizes are equal.", metavar="FX,FY,CX,CY")
    ] = _ESTIMATED,
    npz: Annotated[Path | None, typer.Option(help="Correspondences, inliers and models.", metavar="FILE")] = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    max_memory: MaxMemoryOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Match two images, here or on a server; draw the matches, warp image 1 onto image 0, triangulate."""
    wanted = {"out": out, "warp": warp, "certainty": certainty, "two_view": two_view, "npz": npz}
    places = {name: path for name, path in wanted.items() if path}
    _check_places(places)
    given = [_parsed_intrinsics(name, text) for name, text in (("--k0", k0), ("--k1", k1))]
    settings = load_settings(
        sets,
        config,
        store=store,
        inference__device=device,
        inference__max_memory_gib=max_memory,
        rpc__ca_file=tls_ca,
        rpc__cert_file=tls_cert,
        rpc__key_file=tls_key,
    )
    if server and (certainty or device or max_memory is not None):
        raise InvalidInput("--certainty, --device and --max-memory are of a matcher here: leave them out with --server")

    from gim.photos.reading import read_photo
    from gim.photos.scene import cameras_of, reconstruct_photos

    if certainty:
        _check_has_warp(matcher or _DEFAULT, settings)
    photo0, photo1 = (read_photo(path, settings.limits.max_pixels) for path in (image0, image1))
    loaded: Any = None
    if server:
        match = _matched_there(server, matcher or "", photo0, photo1, settings)
    else:
        loaded, match = _matched_here(matcher or _DEFAULT, photo0, photo1, settings, plain_lines=not as_json)
    cameras = cameras_of(photo0, photo1, *given)
    seed = settings.pairing.fit.seed
    scene = reconstruct_photos(photo0, photo1, match, *cameras, seed) if two_view else None
    files = _files(places, photo0, photo1, match, scene, loaded)
    for name, data in files.items():
        _write(places[name], data)

    summary = {"image0": str(image0), "image1": str(image1), "matcher": match.matcher, **_numbers(match)}
    summary["notes"] = [f"{photo.name}: {note}" for photo in (photo0, photo1) for note in photo.notes]
    if scene:
        summary["scene"] = _scene_numbers(scene, cameras)
    _print_summary({**summary, **{name: str(path) for name, path in places.items()}}, as_json=as_json)


def _matched_here(
    name: str, photo0: "Photo", photo1: "Photo", settings: "Settings", *, plain_lines: bool
) -> "tuple[Matcher, PhotoMatch]":
    from gim.cli._loading import loaded_matcher
    from gim.photos.matching import match_photos

    loaded = loaded_matcher(name, settings, plain_lines=plain_lines)
    return loaded, match_photos(loaded, photo0, photo1, settings.pairing.fit)


def _matched_there(server: str, name: str, photo0: "Photo", photo1: "Photo", settings: "Settings") -> "PhotoMatch":
    """What a server finds; the time is that of the way there and back, too."""
    from gim.cli._rpc import connected
    from gim.photos.matching import fit_match

    (image0, mask0), (image1, mask1) = _as_sent(photo0), _as_sent(photo1)
    with connected(server, settings.rpc) as client:
        begin = time.perf_counter()
        answer = client.ask(image0, image1, mask0, mask1, matcher=name)
        seconds = time.perf_counter() - begin
    return fit_match(answer.matcher.name, server, seconds, answer.found, settings.pairing.fit)


def _as_sent(photo: "Photo") -> "tuple[bytes | Uint8Array, Uint8Array | None]":
    """A JPEG or PNG file as it is, which the server reads as we do; pixels and mask of any other."""
    from gim.rpc.images import is_sent_as_it_is

    data = Path(photo.name).read_bytes()
    return (data, None) if is_sent_as_it_is(data) else (photo.image, photo.mask)


def _files(
    places: dict[str, Path],
    photo0: "Photo",
    photo1: "Photo",
    match: "PhotoMatch",
    scene: "PhotoScene | None",
    matcher: Any,
) -> dict[str, bytes]:
    """The content of every file that is asked for; made whole before any is written."""
    from gim import codecs
    from gim.photos.matching import dense_warp, draw_match, draw_warp_certainty, warp_onto

    files = {}
    if path := places.get("warp"):
        files["warp"] = _encoded(path, warp_onto(photo0, photo1, match))
    if path := places.get("certainty"):
        warp = dense_warp(matcher, photo0, photo1)
        files["certainty"] = _encoded(path, draw_warp_certainty(photo0, photo1, match, warp))
    if path := places.get("out"):
        files["out"] = _encoded(path, draw_match(photo0, photo1, match))
    if "npz" in places:
        F01 = match.epipolar.F01 if match.epipolar else None
        H01 = match.plane.H01 if match.plane else None
        files["npz"] = codecs.to_npz(_Stored(match.found.points, match.found.confidence, match.inliers, F01, H01))
    if scene:
        files["two_view"] = scene.ply
    return files


def _numbers(match: "PhotoMatch") -> dict[str, Any]:
    return {
        "matches": len(match.inliers),
        "inliers": int(match.inliers.sum()),
        "F01": match.epipolar.F01.tolist() if match.epipolar else None,
        "H01": match.plane.H01.tolist() if match.plane else None,
        "seconds": round(match.seconds, 3),
        "device": match.device,
    }


def _scene_numbers(scene: "PhotoScene", cameras: "tuple[Camera, Camera]") -> dict[str, Any]:
    return {
        "points": len(scene.scene.points),
        "tried": scene.num_tried,
        "rotation_deg": round(scene.rotation_deg, 3),
        "median_angle_deg": round(scene.median_angle_deg, 3),
        "T_0to1": scene.scene.T_0to1.tolist(),
        **{f"K{view}": camera.K.tolist() for view, camera in enumerate(cameras)},
        **{f"K{view}_from": camera.source for view, camera in enumerate(cameras)},
    }


def _print_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    from gim.cli._terminal import printable

    if as_json:
        print(json.dumps(summary))
        return
    print(
        f"{summary['matches']} matches, {summary['inliers']} inliers, {summary['seconds']:.2f} s on {summary['device']}"
    )
    lines = list(summary["notes"])
    if scene := summary.get("scene"):
        for view in (0, 1):
            (fx, _, cx), (_, fy, cy), _ = scene[f"K{view}"]
            lines.append(f"camera {view}: {fx:.1f},{fy:.1f},{cx:.1f},{cy:.1f} ({scene[f'K{view}_from']})")
        lines.append(
            f"scene: {scene['points']} points of {scene['tried']} inliers, seen under {scene['median_angle_deg']:.1f} "
            f"degrees in the middle; the camera turned by {scene['rotation_deg']:.1f} degrees"
        )
    lines += [f"{name}: {summary[name]}" for name in ("out", "warp", "certainty", "two_view", "npz") if name in summary]
    for line in lines:
        print(printable(line))


def _parsed_intrinsics(option: str, text: str) -> Float64Array | None:
    from gim.evaluation.cameras import parse_intrinsics

    if text == _ESTIMATED:
        return None
    try:
        return parse_intrinsics(text)
    except InvalidInput as error:
        raise InvalidInput(f"{option}: {error}; or say {_ESTIMATED}") from error


def _check_has_warp(name: str, settings: "Settings") -> None:
    from gim.matchers.network import WarpMatcher
    from gim.matchers.registry import matcher_class
    from gim.photos.matching import names_with_warp
    from gim.runtime.trained import with_run

    settings, name = with_run(settings, name)
    if not issubclass(matcher_class(name, settings.matcher.get(name)), WarpMatcher):
        others = ", ".join(names_with_warp()) or "none here, see `gim ls matchers`"
        raise InvalidInput(f"--certainty: matcher {name} gives no dense warp; matchers that do: {others}")


def _check_places(places: dict[str, Path]) -> None:
    """Refuse before any work what could not be written."""
    suffixes = {"out": _PICTURES, "warp": _PICTURES, "certainty": _PICTURES, "two_view": (".ply",)}
    for name, path in places.items():
        allowed = suffixes.get(name)
        if allowed and path.suffix.lower() not in allowed:
            raise InvalidInput(f"cannot write {path}: expected {' or '.join(allowed)}")
    for path in places.values():
        if path.is_dir() or not path.parent.is_dir():
            why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise InvalidInput(f"cannot write {path}: {why}")


def _encoded(path: Path, image: Uint8Array) -> bytes:
    from gim import codecs

    return codecs.encode_png(image) if path.suffix.lower() == ".png" else codecs.encode_jpeg(image)


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Unavailable(f"cannot write {path}: {error.strerror or error}") from error
