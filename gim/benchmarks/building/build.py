"""Makes a benchmark in ZEB's layout of any posed images: overlaps, an even draw, files, and a manifest of it all.

The same source, settings and versions give the same files. Nothing is left of a build that fails.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gim.benchmarks.building.drawing import BinCount, DrawSettings, draw_pairs
from gim.benchmarks.building.manifest import (
    MANIFEST,
    BuiltScene,
    ZebManifest,
    hash_file,
    sealed,
)
from gim.benchmarks.building.overlap import DEPTH_TOLERANCE
from gim.benchmarks.building.pinhole import pinhole_view
from gim.benchmarks.building.scene import Lens, SourceScene
from gim.benchmarks.building.shares import Views, overlap_source, pair_overlaps
from gim.benchmarks.building.writing import SEPARATOR, scene_word, stored_size, write_scene
from gim.benchmarks.zeb import DATASETS, ZebDataset
from gim.codecs import to_json
from gim.errors import InvalidInput
from gim.keys import validate_key

_TOOLS = ("gim-pipeline", "numpy", "opencv-python-headless", "pycolmap")


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What a manifest says of a benchmark beside its files."""

    name: str
    source_format: str
    protocol: str
    protocol_sha256: str
    licence: str = "unknown"
    key: bytes | None = None  # that signs it


def build_benchmark(
    scenes: Sequence[SourceScene],
    out: Path,
    settings: DrawSettings,
    facts: BuildFacts,
    *,
    threads: int = 4,
    on_scene: Callable[[str], None] = lambda _: None,
) -> ZebManifest:
    """Build a benchmark into a folder that does not exist or is empty.

    Args:
        scenes: of the source.
        out: the benchmark's own folder: images, texts and `manifest.json`.
        settings: of the draw.
        facts: for the manifest.
        threads: that decode, encode and compare.
        on_scene: told of every scene as its work begins.

    Raises:
        InvalidInput: the folder is not empty, names clash, images of one camera have several sizes, or no pair of any
            scene has the overlap asked for.
    """
    _check_out(out, facts.name)
    _check_names(scenes)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with ThreadPoolExecutor(threads) as executor:
            manifest = _fill(staged, scenes, settings, facts, executor, on_scene)
        staged.chmod(0o755)  # mkdtemp's is for its user alone
        if out.exists():
            out.rmdir()
        staged.rename(out)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return manifest


def _fill(
    folder: Path,
    scenes: Sequence[SourceScene],
    settings: DrawSettings,
    facts: BuildFacts,
    executor: ThreadPoolExecutor,
    on_scene: Callable[[str], None],
) -> ZebManifest:
    images: list[str] = []
    texts: list[str] = []
    identifiers: list[str] = []
    built = []
    for scene in scenes:
        on_scene(scene.name)
        views = _views_of(scene)
        candidates = pair_overlaps(scene, views, settings, executor)
        drawn, bins = draw_pairs(candidates, settings, scene.name)
        built.append(BuiltScene(scene_word(scene.name), scene.name, len(scene.images), overlap_source(scene), bins))
        if drawn:
            written = write_scene(folder, scene, drawn, views, executor)
            images += written.images
            texts += written.texts
            identifiers += written.identifiers
    if not texts:
        raise InvalidInput(_nothing_drawn(built, settings))
    hashed_images, hashed_texts = (
        list(executor.map(lambda name: hash_file(folder / name), sorted(names))) for names in (images, texts)
    )
    num_scenes = sum(any(count.num_drawn for count in scene.bins) for scene in built)
    manifest = ZebManifest(
        dataset=ZebDataset(
            folder=facts.name.lower(), name=facts.name, separator=SEPARATOR, num_pairs=len(texts), num_scenes=num_scenes
        ),
        scenes=built,
        images=hashed_images,
        pairs=hashed_texts,
        list_sha256=hashlib.sha256("".join(f"{name}\n" for name in sorted(identifiers)).encode()).hexdigest(),
        protocol=facts.protocol,
        protocol_sha256=facts.protocol_sha256,
        source_format=facts.source_format,
        licence=facts.licence,
        settings=settings,
        depth_tolerance=DEPTH_TOLERANCE,
        tools={name: version(name) for name in _TOOLS},
    )
    manifest = sealed(manifest, facts.key)
    (folder / MANIFEST).write_bytes(to_json(manifest))
    return manifest


def _views_of(scene: SourceScene) -> Views:
    """The pinhole camera of every lens; images of one lens have one size."""
    sizes: dict[Lens, tuple[tuple[int, int], str]] = {}
    for image in scene.images:
        size = stored_size(image.path)
        expected, by = sizes.setdefault(
            image.lens, (image.lens.size or size, "its camera" if image.lens.size else image.name)
        )
        if size != expected:
            found, wanted = (f"{width}x{height}" for width, height in (size, expected))
            raise InvalidInput(f"{image.path}: {found} pixels, but {by} has {wanted} under {image.lens.name}")
    return {lens: pinhole_view(lens, size) for lens, (size, _) in sizes.items()}


def _check_out(out: Path, name: str) -> None:
    validate_key(name)
    if "/" in name:
        raise InvalidInput(f"benchmark {name!r}: a name has no slash")
    if any(name.lower() in (known.folder, known.name.lower()) for known in DATASETS):
        raise InvalidInput(
            f"benchmark {name!r}: one of ZEB's own is called so, and read by its rules; take another name"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out}: is there and not empty; a benchmark is built into a folder of its own")


def _check_names(scenes: Sequence[SourceScene]) -> None:
    seen: dict[str, str] = {}
    for scene in scenes:
        other = seen.setdefault(scene_word(scene.name), scene.name)
        if other != scene.name:
            raise InvalidInput(f"scenes {other} and {scene.name} have the same name in files; rename one")


def _nothing_drawn(built: Sequence[BuiltScene], settings: DrawSettings) -> str:
    num_images = sum(scene.num_images for scene in built)
    return (
        f"no pair of {len(built)} scenes with {num_images} images has an overlap from {settings.min_overlap:g} to "
        f"{settings.max_overlap:g}; lower --min-overlap, or check that depth and poses have the same unit"
    )


def short_bins(manifest: ZebManifest) -> list[tuple[str, BinCount]]:
    """The bins that had fewer pairs than were asked of them, with their scenes."""
    return [
        (scene.name, count) for scene in manifest.scenes for count in scene.bins if count.num_drawn < count.num_asked
    ]
