"""Scores what a store holds against known cameras; how is `gim.evaluation`'s."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.evaluation.cameras import KnownCameras
from gim.evaluation.check import IntervalScore, JudgedPair, score_pairs
from gim.export.selection import read_pairs, select_pairs
from gim.labels.pairing import LABELLED
from gim.ports.store import Store
from gim.records import FrameManifest, PairsManifest, SegmentLabels
from gim.report.results import CheckRow
from gim.results import find_results


@dataclass(frozen=True, slots=True)
class CheckedResult:
    """The scores of one finished result; the last of each list is of all intervals together."""

    video_id: str
    recipe_id: str
    pairs: list[IntervalScore]
    base: dict[str, list[IntervalScore]]  # matcher id -> scores of its base labels, where asked for


def check_store(
    store: Store,
    cameras: KnownCameras,
    *,
    video_id: str | None = None,
    recipe_id: str | None = None,
    with_base: bool = False,
) -> list[CheckedResult]:
    """Score the results of one video.

    Args:
        store: where runs have written.
        cameras: of the video's frames.
        video_id: None takes the one video these cameras can be of.
        recipe_id: None takes every finished result of the video.
        with_base: whether the matchers' base labels are scored too.

    Raises:
        InvalidInput: no such result, none with pairs, not one video to choose, or cameras of something else.
    """
    results = find_results(store, [video_id] if video_id else [], recipe_id)
    chosen = results if video_id else _only_fitting(store, results, cameras)
    frames = {result.sampling_id: _frames(store, result) for result in chosen}
    for manifest in frames.values():
        cameras.check_fits(manifest.width, manifest.height, max(manifest.frame_indices, default=0))
    if not any(result.num_pairs for result in chosen):
        reasons = ", ".join(sorted({result.rejected for result in chosen}))
        raise InvalidInput(f"{chosen[0].video_id} has no pairs to check ({reasons})")
    return [_check(store, result, frames[result.sampling_id], cameras, with_base) for result in chosen]


def check_rows(result: CheckedResult) -> list[CheckRow]:
    """The scores of a result's pairs as its report shows them: exact errors where they are known."""
    rows = []
    for score in result.pairs:
        errors = score.point or score.epipolar
        if score.interval_seconds is not None:
            rows.append(
                CheckRow(
                    interval_seconds=score.interval_seconds,
                    num_pairs=score.num_pairs,
                    num_correspondences=score.num_correspondences,
                    median_error_px=math.inf if errors.median_px is None else errors.median_px,
                    within_1px=errors.within_1px,
                    within_2px=errors.within_2px,
                )
            )
    return rows


def _check(
    store: Store, result: PairsManifest, frames: FrameManifest, cameras: KnownCameras, with_base: bool
) -> CheckedResult:
    kept = score_pairs(_kept_pairs(store, result, frames), cameras)
    matchers = result.matcher_ids if with_base else []
    base = {matcher: score_pairs(_base_pairs(store, frames, matcher), cameras) for matcher in matchers}
    return CheckedResult(result.video_id, result.recipe_id, kept, base)


def _kept_pairs(store: Store, result: PairsManifest, frames: FrameManifest) -> Iterator[JudgedPair]:
    times = dict(zip(frames.frame_indices, frames.frame_times, strict=True))
    for item in read_pairs(store, select_pairs(store, result, ())):
        frame0, frame1 = item.pair.frame0, item.pair.frame1
        interval = _interval(frames, times[frame0], times[frame1])
        yield JudgedPair(frame0, frame1, interval, item.pair.correspondences)


def _base_pairs(store: Store, frames: FrameManifest, matcher_id: str) -> Iterator[JudgedPair]:
    times = dict(zip(frames.frame_indices, frames.frame_times, strict=True))
    for key in store.list(keys.labels_prefix(frames.video_id, frames.sampling_id, matcher_id)):
        labels = codecs.from_npz(SegmentLabels, store.get(key))
        for i in np.flatnonzero(labels.outcomes == LABELLED):
            frame0, frame1 = (int(frame) for frame in labels.frames[i])
            points = labels.correspondences[labels.offsets[i] : labels.offsets[i + 1]]
            yield JudgedPair(frame0, frame1, _interval(frames, times[frame0], times[frame1]), points)


def _interval(frames: FrameManifest, time0: float, time1: float) -> float:
    """Seconds between two samples to the nearest multiple of the step: frames of varying rate are never exact."""
    return round(round((time1 - time0) / frames.step_seconds) * frames.step_seconds, 3)


def _frames(store: Store, result: PairsManifest) -> FrameManifest:
    return codecs.from_json(FrameManifest, store.get(keys.frame_manifest(result.video_id, result.sampling_id)))


def _only_fitting(store: Store, results: Sequence[PairsManifest], cameras: KnownCameras) -> list[PairsManifest]:
    """The results of the only video, or of the only one of as many frames (and of the size) the cameras are of."""
    videos = list(dict.fromkeys(result.video_id for result in results))
    if len(videos) > 1:
        fitting = {result.video_id for result in results if _may_be_of(cameras, _frames(store, result))}
        videos = [video for video in videos if video in fitting] or videos
    if len(videos) > 1:
        raise InvalidInput(f"name one of {len(videos)} videos by --video: {', '.join(videos[:8])}")
    return [result for result in results if result.video_id == videos[0]]


def _may_be_of(cameras: KnownCameras, frames: FrameManifest) -> bool:
    if cameras.num_frames != frames.num_frames:
        return False
    try:
        cameras.check_fits(frames.width, frames.height, max(frames.frame_indices, default=0))
    except InvalidInput:
        return False
    return True
