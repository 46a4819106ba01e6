"""COLMAP labels of a stored video as training pairs, the paper's baseline, beside those of propagation.

GIM, ICLR 2024, Sec. 4.3: 200 frames of every clip of 4,000 are reconstructed, and the model's points are the labels.
They are stored as propagated ones are, under a recipe of their own, so that `gim check`, reports, exports and datasets
take either. What fails is counted in the funnel.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pycolmap

from gim import codecs, keys
from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.labels.quality import assess_pair, median_displacement_px
from gim.matchers.base import Matcher
from gim.ports.store import Store
from gim.reconstruction.colmap_labels import CLIP_CONFIG, ColmapLabels, FailureRate, failure_rate, label_with_colmap
from gim.reconstruction.run import Work
from gim.records import Float32Array, FrameManifest, Funnel, PairIndex, PairsManifest, Shot, TrainingPair
from gim.stages.samples import SampleReader
from gim.stages.training_pairs import PairsWriter

REVISION = 1  # bumped when the same settings give other pairs

NO_MODEL = "no_model"
NOT_REGISTERED = "not_registered"
TOO_FEW_SHARED = "too_few_shared"
NO_FIT = "no_fit"
NO_MOTION = "no_motion"
SHARED_NO_MORE = "shared_no_more"
LEFT_OUT = "left_out"  # samples that are not among those of their clip

_JPEG_SUFFIX = ".jpg"


@dataclass(frozen=True, slots=True)
class ColmapLabelConfig:
    """What shapes COLMAP labels."""

    clip_frames: int = 4000  # of the video; a shot is cut into clips of so many
    num_frames: int = 200  # of a clip that are reconstructed, evenly spread over its samples
    min_points: int = 64  # shared by the two frames of a pair, as propagation keeps at least
    min_displacement_px: float = 4.0  # median, below which a pair teaches nothing
    shard_pairs: int = 256


@dataclass(frozen=True, slots=True)
class ColmapLabelled:
    """What came of a video."""

    pairs: PairsManifest
    rate: FailureRate


@dataclass(frozen=True, slots=True)
class _Clip:
    """Samples of one shot that are reconstructed together."""

    shot: int
    samples: list[int]


_DEFAULTS = ColmapLabelConfig()


def label_video(
    store: Store,
    manifest: FrameManifest,
    matcher: Matcher,
    config: ColmapLabelConfig = _DEFAULTS,
    *,
    work: Work,
    work_dir: Path | None = None,
) -> ColmapLabelled:
    """Label a video whose frames are stored; one that is labelled is only read.

    Args:
        store: has the frames, gets the pairs.
        manifest: of the frames.
        matcher: whose matches are reconstructed.
        config: which frames, and which pairs are kept.
        work: threads, limits, and who is told how far it is.
        work_dir: for frames and models, which go at the end; the system's temporary folder by default.
    """
    identity = colmap_recipe_id(manifest.sampling_id, matcher, config)
    key, rate_key = keys.pairs_manifest(manifest.video_id, identity), keys.colmap_rate(manifest.video_id, identity)
    if store.exists(key):
        pairs = codecs.from_json(PairsManifest, store.get(key))
        return ColmapLabelled(pairs, codecs.from_json(FailureRate, store.get(rate_key)))
    reader = SampleReader(store)
    writer = PairsWriter(store, manifest, identity, config.shard_pairs, jpeg=reader.jpeg)
    clips = [clip for shot in manifest.shots if not shot.rejected for clip in _clips(manifest, shot, config)]
    found: list[ColmapLabels] = []
    kept, lost = 0, Counter[str]()
    for number, clip in enumerate(clips):
        work.report("clips", number, len(clips))
        labels = _label_clip(reader, manifest, clip, matcher, config, work, work_dir)
        found.append(labels)
        for outcome in _pairs_of(manifest, clip, labels, config):
            if isinstance(outcome, TrainingPair):
                writer.add(replace(outcome, teachers=(matcher.teacher,)), clip.shot)
                kept += 1
            else:
                lost[outcome] += 1
    work.report("clips", len(clips), len(clips))
    shards, entries = writer.finish()
    index = PairIndex(manifest.video_id, identity, entries)
    store.put(keys.pairs_index(manifest.video_id, identity), codecs.to_json(index))
    rate = failure_rate(found)
    store.put(rate_key, codecs.to_json(rate))
    pairs = PairsManifest(
        video_id=manifest.video_id,
        sampling_id=manifest.sampling_id,
        recipe_id=identity,
        recipe={"name": "colmap", **asdict(config), "reconstruction": asdict(CLIP_CONFIG)},
        matcher_ids=[],  # no base labels are used
        num_pairs=len(entries),
        num_correspondences=sum(entry.quality.num_correspondences for entry in entries),
        shards=shards,
        funnel=_funnel(manifest, rate, kept, lost),
        rejected="" if entries else manifest.rejected or max(lost, key=lambda reason: lost[reason], default=""),
        teachers=(matcher.teacher,),
    )
    store.put(key, codecs.to_json(pairs))
    return ColmapLabelled(pairs, rate)


def colmap_recipe_id(sampling_id: str, matcher: Matcher, config: ColmapLabelConfig) -> str:
    """Id of everything that shapes the pairs."""
    made_of = (REVISION, config, CLIP_CONFIG, sampling_id, matcher.identity, pycolmap.__version__)
    return keys.config_id("colmap", *made_of)


def _clips(manifest: FrameManifest, shot: Shot, config: ColmapLabelConfig) -> Iterator[_Clip]:
    samples = range(shot.first_sample, shot.first_sample + shot.num_samples)
    of_clip: dict[int, list[int]] = {}
    for sample in samples:
        number = (manifest.frame_indices[sample] - shot.first_frame) // config.clip_frames
        of_clip.setdefault(number, []).append(sample)
    for members in of_clip.values():
        if len(members) > 1:
            yield _Clip(shot.index, _spread(members, config.num_frames))


def _spread(items: Sequence[int], number: int) -> list[int]:
    """So many of them, first and last included, as evenly as can be."""
    if len(items) <= number:
        return list(items)
    return [items[round(place * (len(items) - 1) / (number - 1))] for place in range(number)]


def _label_clip(
    reader: SampleReader,
    manifest: FrameManifest,
    clip: _Clip,
    matcher: Matcher,
    config: ColmapLabelConfig,
    work: Work,
    work_dir: Path | None,
) -> ColmapLabels:
    with TemporaryDirectory(prefix="gim-colmap-", dir=work_dir) as folder:
        frames, masks = Path(folder) / "frames", Path(folder) / "masks"
        _write_frames(reader, manifest, clip, frames, masks)
        return label_with_colmap(
            frames,
            Path(folder) / "model",
            matcher,
            masks=masks if masks.is_dir() else None,
            min_points=config.min_points,
            work=work,
        )


def _write_frames(reader: SampleReader, manifest: FrameManifest, clip: _Clip, frames: Path, masks: Path) -> None:
    frames.mkdir()
    for sample in clip.samples:
        index = manifest.frame_indices[sample]
        (frames / _name(index)).write_bytes(reader.jpeg(manifest, index))
        mask = reader.mask(manifest, clip.shot, sample)
        if mask is not None:
            masks.mkdir(exist_ok=True)
            (masks / f"{_name(index)}.png").write_bytes(codecs.encode_png(mask))


def _name(frame: int) -> str:
    return f"{frame:08d}{_JPEG_SUFFIX}"


def _pairs_of(
    manifest: FrameManifest, clip: _Clip, labels: ColmapLabels, config: ColmapLabelConfig
) -> Iterator[TrainingPair | str]:
    """Of every frame of a clip but the last the pair with the farthest frame that shares enough, or why it has none."""
    registered = {name for pair in labels.pairs for name in pair}
    of_start: dict[str, list[str]] = {}
    for name0, name1 in labels.pairs:
        of_start.setdefault(name0, []).append(name1)
    for sample in clip.samples[:-1]:
        name = _name(manifest.frame_indices[sample])
        if not labels.num_registered:
            yield NO_MODEL
        elif name in of_start:
            yield _training_pair(manifest, name, max(of_start[name]), labels.pairs, config)
        else:
            yield TOO_FEW_SHARED if name in registered else NOT_REGISTERED


def _training_pair(
    manifest: FrameManifest,
    name0: str,
    name1: str,
    pairs: Mapping[tuple[str, str], Float32Array],
    config: ColmapLabelConfig,
) -> TrainingPair | str:
    frame0, frame1 = (int(name.removesuffix(_JPEG_SUFFIX)) for name in (name0, name1))
    time0, time1 = (manifest.frame_times[manifest.frame_indices.index(frame)] for frame in (frame0, frame1))
    points = pairs[name0, name1]
    if median_displacement_px(points) < config.min_displacement_px:
        return NO_MOTION
    fit = fit_fundamental(points, RobustFitConfig())
    if fit is None or fit.inliers.sum() < config.min_points:
        return NO_FIT
    points = points[fit.inliers]
    quality = assess_pair(
        points,
        fit.F01,
        width=manifest.width,
        height=manifest.height,
        interval_frames=frame1 - frame0,
        interval_seconds=time1 - time0,
        num_links=0,
        guided_share=0.0,
        confirmed_share=0.0,
        num_matchers=1,
    )
    return TrainingPair(manifest.video_id, frame0, frame1, time0, time1, points, fit.F01, quality)


def _funnel(manifest: FrameManifest, rate: FailureRate, kept: int, lost: Counter[str]) -> Funnel:
    rejected: Counter[str] = Counter()
    for shot in manifest.shots:
        if shot.rejected:
            rejected[shot.rejected] += shot.num_samples
    unregistered = rate.frames - rate.frames_registered
    num_sampled = len(manifest.frame_indices)
    between = num_sampled - rejected.total() - rate.frames
    rejected.update({NOT_REGISTERED: unregistered, LEFT_OUT: between})
    return Funnel(
        frames_decoded=manifest.num_frames,
        frames_sampled=num_sampled,
        frames_used=rate.frames_registered,
        frames_rejected={reason: number for reason, number in sorted(rejected.items()) if number},
        pairs_attempted={},
        pairs_labelled={},
        pairs_rejected={},
        starts=kept + lost.total(),
        pairs_kept=kept,
        starts_rejected=dict(sorted(lost.items())),
        chain_ends={SHARED_NO_MORE: kept} if kept else {},
    )
