"""Photographs to a COLMAP model: pairs, matches, verification, mapping, and the files that tell of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pycolmap

from gim import codecs, keys
from gim.matchers.base import Matcher, SparseMatcher
from gim.reconstruction.cache import ResultCache
from gim.reconstruction.cameras import group_cameras
from gim.reconstruction.colours import paint_points
from gim.reconstruction.config import ReconstructionConfig, merge_distance_px
from gim.reconstruction.database import index_matches, write_database
from gim.reconstruction.folder import SUMMARY, RunFolder
from gim.reconstruction.images import SourceImage, find_images
from gim.reconstruction.mapping import NoModel, map_images, quiet_colmap, verify_pairs
from gim.reconstruction.matching import PhotoMatching, Report, say_nothing
from gim.reconstruction.model_picture import draw_reconstruction
from gim.reconstruction.pairs import choose_pairs
from gim.reconstruction.summary import ReconstructionSummary, numbers_of

_DEFAULTS = ReconstructionConfig()


@dataclass(frozen=True, slots=True)
class Work:
    """How much may be used, and who wants to know; changes no result but as `docs/reconstruction.md` says."""

    threads: int = 1
    max_pixels: int = 2**27  # of an image
    report: Report = say_nothing


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def reconstruct(
    images: Path,
    out: Path,
    matcher: Matcher,
    config: ReconstructionConfig = _DEFAULTS,
    *,
    masks: Path | None = None,
    work: Work = Work(),
    redo: bool = False,
) -> ReconstructionSummary:
    """Reconstruct the photographs of a folder; an interrupted run goes on, a finished one is told of again.

    Args:
        images: folder of photographs.
        out: gets `sparse/0`, `database.db`, `points.ply`, `picture.png` and `summary.json`, all or none.
        matcher: any.
        config: how.
        masks: folder of `<image name>.png`, 0 = ignore.
        work: threads, limits, progress.
        redo: replace results of other settings.

    Raises:
        InvalidInput: images, masks or pairs that cannot be used, or a folder that holds something else.
        NoModel: nothing could be reconstructed.
        Unavailable: another process works in the folder, or the disk is full.
    """
    sources = find_images(images, masks, work.max_pixels)
    group_cameras(sources, config)  # refuses before any work what it cannot take
    folder = RunFolder(out)
    with folder.opened(_settings(sources, matcher, config), redo=redo):
        if found := folder.finished():
            found.pop("schema", None)
            return ReconstructionSummary(**found)
        with ResultCache(folder.cache) as cache, quiet_colmap():
            summary = _reconstruct(images, folder.partial, sources, matcher, config, work, cache)
        folder.publish()
    return summary


def _settings(sources: Sequence[SourceImage], matcher: Matcher, config: ReconstructionConfig) -> dict[str, Any]:
    pairs = config.pairs
    listed = Path(pairs).read_text(encoding="utf-8", errors="replace") if Path(pairs).is_file() else ""
    return {
        "images": keys.config_hash([(image.name, image.content_id) for image in sources]),
        "matcher": keys.config_id(matcher.name.replace(":", "-"), *matcher.identity),
        **{f"setting {name}": value for name, value in asdict(config).items()},
        "list of pairs": keys.config_hash(listed),
    }


def _reconstruct(
    folder: Path,
    out: Path,
    sources: Sequence[SourceImage],
    matcher: Matcher,
    config: ReconstructionConfig,
    work: Work,
    cache: ResultCache,
) -> ReconstructionSummary:
    clock = _Clock()
    names = [source.name for source in sources]
    with ThreadPoolExecutor(work.threads) as executor:
        matching = PhotoMatching(matcher, sources, cache, executor, max_pixels=work.max_pixels, report=work.report)
        with clock.step("pairs"):
            pairs = choose_pairs(names, config, lambda count: matching.similar(count, seed=config.seed))
        with clock.step("matching"):
            correspondences = matching.match(pairs)
    with clock.step("database"):
        merge_px = merge_distance_px(config, has_keypoints=isinstance(matcher, SparseMatcher))
        found = index_matches(len(sources), pairs, correspondences, merge_px)
        database = out / "database.db"
        cameras = group_cameras(sources, config)
        written = write_database(database, sources, cameras, pairs, found, min_matches=config.min_inliers)
    with clock.step("verification"):
        work.report("verify", 0, len(written))
        verified, inliers = verify_pairs(database, [(names[i], names[j]) for i, j in written], out, config)
    if verified == 0:
        raise _no_model(f"none of {len(pairs)} pairs has {config.min_inliers} matches that agree")
    with clock.step("mapping"):
        work.report("map", 0, 0)
        models = map_images(database, folder, out / "models", config, threads=work.threads)
    if not models or models[0].num_points3D() == 0:
        raise _no_model(f"{verified} of {len(pairs)} pairs agree, but no two of them give a first model")
    with clock.step("files"):
        paint_points(models[0], {source.name: source for source in sources}, work.max_pixels)
    summary = ReconstructionSummary(
        **numbers_of(models[0], names),
        models=len(models),
        keypoints=found.num_keypoints,
        pairs=len(pairs),
        pairs_verified=verified,
        matches=found.num_matches,
        matches_verified=inliers,
        matcher=matcher.name,
        matcher_id=keys.config_id(matcher.name.replace(":", "-"), *matcher.identity),
        mapper=config.mapper,
        pycolmap=pycolmap.__version__,
        seed=config.seed,
        threads=work.threads,
        seconds=clock.seconds,
    )
    _write_results(out, models[0], {source.name: source for source in sources}, summary)
    return summary


def _no_model(why: str) -> NoModel:
    return NoModel(f"no model: {why}; take images that share more, another --matcher, or other --pairs")


def _write_results(out: Path, model: Any, sources: Mapping[str, SourceImage], summary: ReconstructionSummary) -> None:
    sparse = out / "sparse" / "0"
    sparse.mkdir(parents=True)
    model.write_binary(str(sparse))
    model.export_PLY(str(out / "points.ply"))
    (out / "picture.png").write_bytes(codecs.encode_png(draw_reconstruction(model, sources, _title(summary))))
    (out / SUMMARY).write_bytes(codecs.to_json(summary))


def _title(summary: ReconstructionSummary) -> str:
    return (
        f"{summary.matcher}: {summary.registered} of {summary.images} images, {summary.points} points, "
        f"track length {summary.mean_track_length:.2f}, {summary.mean_reprojection_error_px:.2f} px"
    )
