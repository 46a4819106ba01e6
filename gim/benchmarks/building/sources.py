"""Where a benchmark's posed images can come from: one reader per format, and what they may be completed with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gim.benchmarks.building.depth import find_depth
from gim.benchmarks.building.lenses import parse_lens
from gim.benchmarks.building.scene import SourceScene, named_first
from gim.benchmarks.building.source_colmap import is_colmap, read_colmap, read_tracks
from gim.benchmarks.building.source_kitti import is_kitti, read_kitti
from gim.benchmarks.building.source_transforms import is_transforms, read_transforms
from gim.benchmarks.building.source_tum import DEPTH_UNITS, is_tum, read_tum
from gim.errors import InvalidInput
from gim.spelling import did_you_mean

FORMATS = ("colmap", "tum", "kitti", "transforms")
_DEPTH_UNITS = {"tum": DEPTH_UNITS, "kitti": 256.0}  # per metre in a PNG of 16 bits
_MILLIMETRES = 1000.0


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a folder does not say by itself."""

    images: Path | None = None  # of a COLMAP model
    camera: str = ""  # see `parse_lens`; TUM, and KITTI without calib.txt
    depth: Path | None = None  # a depth map per image; with several scenes, a folder per scene
    depth_units: float = 0.0  # per unit of the poses, in PNG of 16 bits; 0: the format's own
    tracks: Path | None = None  # a COLMAP model whose tracks say what images share


def read_scenes(source: Path, kind: str, options: SourceOptions) -> list[SourceScene]:
    """The scenes of a source: the folder itself where it is one of its format, else its subfolders that are.

    Raises:
        InvalidInput: no such format, no scene of it, a malformed one, or nothing that says what images share.
    """
    if kind not in FORMATS:
        raise InvalidInput(f"--from {kind!r}: no such format{did_you_mean(kind, FORMATS)}: {', '.join(FORMATS)}")
    if not source.exists():
        raise InvalidInput(f"{source}: no such folder")
    is_scene = {"colmap": is_colmap, "tum": is_tum, "kitti": is_kitti, "transforms": is_transforms}[kind]
    folders = [source] if is_scene(source) else _below(source, is_scene)
    if not folders:
        raise InvalidInput(f"{source}: holds nothing of the format {kind!r}, nor do its subfolders; see docs/zeb.md")
    scenes = [_completed(_read(folder, kind, options), options, kind, len(folders) > 1) for folder in folders]
    for scene in scenes:
        _check_shares(scene, kind)
    return scenes


def _read(folder: Path, kind: str, options: SourceOptions) -> SourceScene:
    lens = parse_lens(options.camera) if options.camera else None
    if kind == "colmap":
        return read_colmap(folder, options.images)
    if kind == "tum":
        return read_tum(folder, lens, options.depth_units or DEPTH_UNITS)
    return read_kitti(folder, lens) if kind == "kitti" else read_transforms(folder)


def _below(source: Path, is_scene: Callable[[Path], bool]) -> list[Path]:
    if not source.is_dir():
        return []
    inside = source / "sequences" if (source / "sequences").is_dir() else source
    return sorted(folder for folder in inside.iterdir() if folder.is_dir() and is_scene(folder))


def _completed(scene: SourceScene, options: SourceOptions, kind: str, is_one_of_many: bool) -> SourceScene:
    """The scene with the depth and the tracks that were given apart from it."""
    images = scene.images
    if options.depth is not None:
        folder = options.depth / scene.name if is_one_of_many else options.depth
        files = find_depth(images, folder, options.depth_units or _DEPTH_UNITS.get(kind, _MILLIMETRES))
        images = tuple(replace(image, depth=file) for image, file in zip(images, files, strict=True))
    if options.tracks is not None:
        tracks = read_tracks(options.tracks / scene.name if is_one_of_many else options.tracks)
        points = [tracks.get(image.name, tracks.get(Path(image.name).name)) for image in images]
        absent = [image.name for image, ids in zip(images, points, strict=True) if ids is None]
        if len(absent) == len(images):
            raise InvalidInput(
                f"tracks {options.tracks}: has none of the images of {scene.name}: {named_first(absent)}"
            )
        # An image that the model could not register has no tracks: its pairs are not known, so it is left out.
        images = tuple(replace(image, points=ids) for image, ids in zip(images, points, strict=True) if ids is not None)
    return SourceScene(scene.name, images)


def _check_shares(scene: SourceScene, kind: str) -> None:
    if all(image.depth is not None for image in scene.images):
        return
    if any(image.points is not None and len(image.points) for image in scene.images):
        return
    raise InvalidInput(
        f"scene {scene.name}: {kind} gives poses alone, and poses do not say what two images share; give --depth DIR "
        "(a depth map per image) or --tracks DIR (a COLMAP model of the same images, as its point_triangulator makes)"
    )
