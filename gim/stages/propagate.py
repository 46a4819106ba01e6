"""Propagate: base labels of a whole video become long-baseline training pairs in shards."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, replace

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.geometry.trees import load_trees
from gim.labels.chains import NO_FIT, Joiner, Reach, RunAll
from gim.labels.config import PropagationConfig
from gim.labels.propagation import propagate_shot
from gim.labels.quality import assess_pair, median_displacement_px
from gim.matchers.base import SparseMatcher
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import Float32Array, Float64Array, FrameManifest, PairIndex, PairsManifest, Shot, Teacher, TrainingPair
from gim.stages.deployed import given_up
from gim.stages.labelled import StoredLabels, complete_matchers, teachers_of
from gim.stages.samples import SampleReader
from gim.stages.tally import Tally
from gim.stages.training_pairs import PairsWriter
from gim.video.segmenter import Segmenter
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

_HELD_BYTES = 32 * 2**20  # of stored frames: a hundred at 1080p, about as far as a pair reaches
REVISION = 3  # bumped when the same settings give other pairs

NO_MOTION = "no_motion"
TOO_NEAR = "too_near"
TOO_FEW_KEPT = "too_few_kept"


def recipe_id(name: str, config: PropagationConfig, sampling_id: str, matcher_ids: Iterable[str]) -> str:
    """Id of everything that shapes the pairs: the recipe's numbers, the frames, whose labels are used."""
    return keys.config_id(name, REVISION, config, sampling_id, list(matcher_ids))


class PropagateStage:
    """LabelsReady -> PairsReady, once all the labels a recipe expects are there (or no more will come)."""

    name = "propagate"
    topic = topics.LABELS
    group = "propagate"
    max_seconds = 6 * 3600.0

    def __init__(
        self,
        store: Store,
        recipe_name: str,
        config: PropagationConfig,
        base_intervals: tuple[int, ...],
        *,
        matcher_ids: Callable[[], Mapping[str, str]],
        required_matchers: Iterable[str] = (),
        guide_matcher: SparseMatcher | None,
        segmenter: Segmenter | None = None,
        keep_features: bool,
        executor: Executor,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._recipe_name = recipe_name
        self._config = config
        self._base_intervals = base_intervals
        self._matcher_ids = matcher_ids
        self._required = frozenset(required_matchers)
        self._guide_matcher = guide_matcher
        self._keep_features = keep_features
        self._executor = executor
        self._telemetry = telemetry
        self._reader = SampleReader(store, segmenter, held_bytes=_HELD_BYTES)
        # scipy takes long to load; the decoder is at work meanwhile.
        executor.submit(load_trees)

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        bell = topics.expect(event, events_pb2.LabelsReady)
        manifest = self._reader.manifest(bell.video_id, bell.sampling_id)
        used = self._complete(manifest, is_final=bell.final)
        if used is None:
            return  # another label's bell will ring
        identity = recipe_id(self._recipe_name, self._config, bell.sampling_id, used)
        key = keys.pairs_manifest(bell.video_id, identity)
        if self._store.exists(key):
            pairs = codecs.from_json(PairsManifest, self._store.get(key))
        else:
            pairs = self._make_pairs(manifest, used, identity)
            self._store.put(key, codecs.to_json(pairs))
            self._tell(pairs)
        if not self._keep_features:
            for old in list(self._store.list(keys.features_prefix(bell.video_id, bell.sampling_id))):
                self._store.delete(old)
        done = events_pb2.PairsReady(
            video_id=bell.video_id,
            recipe_id=identity,
            num_pairs=pairs.num_pairs,
            num_shards=len(pairs.shards),
            rejected=pairs.rejected,
        )
        yield bell.video_id, done

    def _complete(self, manifest: FrameManifest, *, is_final: bool) -> list[str] | None:
        """Ids of the matchers that have labelled the whole video; None while labels of others may still come.

        Raises:
            InvalidInput: none has, or one that the recipe requires has given up.
        """
        expected = self._matcher_ids()
        used = complete_matchers(self._store, manifest, list(expected.values()))
        late = [matcher_id for matcher_id in expected.values() if matcher_id not in used]
        if not is_final and len(list(given_up(self._store, manifest, late))) < len(late):
            return None
        missing = sorted(name for name, matcher_id in expected.items() if matcher_id in late)
        if used and not self._required.intersection(missing):
            return used
        names = ", ".join(sorted(self._required.intersection(missing)) or missing)
        raise InvalidInput(f"{manifest.video_id}: no complete labels of {names}, and the recipe cannot do without")

    def _tell(self, pairs: PairsManifest) -> None:
        """What was made now, and not found; starts by outcome, as the funnel counts."""
        video_id = pairs.video_id
        self._telemetry.count("pairs_kept", pairs.num_pairs, video_id)
        self._telemetry.count("starts", pairs.funnel.pairs_kept, video_id, outcome="kept")
        for reason, number in pairs.funnel.starts_rejected.items():
            self._telemetry.count("starts", number, video_id, outcome=reason)
        outcome = "kept" if pairs.num_pairs else "rejected"
        self._telemetry.count("videos", 1, video_id, outcome=outcome, reason=pairs.rejected)

    def _make_pairs(self, manifest: FrameManifest, matcher_ids: list[str], identity: str) -> PairsManifest:
        tally = Tally()
        teachers = teachers_of(self._store, manifest, matcher_ids)
        writer = PairsWriter(self._store, manifest, identity, self._config.shard_pairs, jpeg=self._reader.jpeg)
        for shot in (shot for shot in manifest.shots if not shot.rejected):
            self._propagate_shot(manifest, shot, matcher_ids, teachers, writer, tally)
            self._telemetry.progress(
                manifest.video_id, "propagate", shot.first_sample + shot.num_samples, len(manifest.frame_indices)
            )
        shards, entries = writer.finish()
        index = PairIndex(manifest.video_id, identity, entries)
        self._store.put(keys.pairs_index(manifest.video_id, identity), codecs.to_json(index))
        funnel = tally.funnel(self._store, manifest, matcher_ids)
        return PairsManifest(
            video_id=manifest.video_id,
            sampling_id=manifest.sampling_id,
            recipe_id=identity,
            recipe={"name": self._recipe_name, "base_intervals": self._base_intervals, **asdict(self._config)},
            matcher_ids=matcher_ids,
            num_pairs=len(entries),
            num_correspondences=sum(entry.quality.num_correspondences for entry in entries),
            shards=shards,
            funnel=funnel,
            rejected="" if entries else manifest.rejected or tally.main_reason(),
            teachers=teachers,
        )

    def _propagate_shot(
        self,
        manifest: FrameManifest,
        shot: Shot,
        matcher_ids: list[str],
        teachers: tuple[Teacher, ...],
        writer: PairsWriter,
        tally: Tally,
    ) -> None:
        video_id = manifest.video_id
        labels = StoredLabels(
            self._store,
            manifest,
            shot.index,
            matcher_ids,
            unique=self._config.link == "mutual",
            guide_matcher=self._guide_matcher if self._config.guided.enabled else None,
            reader=self._reader,
        )
        joiner = Joiner(labels, self._config, lambda step: self._telemetry.step(step, video_id))
        run_all: RunAll = lambda function, items: list(self._executor.map(function, items))  # noqa: E731
        blocks = propagate_shot(shot.first_sample, shot.num_samples, joiner, self._base_intervals, run_all=run_all)
        for block in blocks:
            outcomes = run_all(lambda reach: self._training_pair(manifest, reach, joiner, len(matcher_ids)), block)
            for reach, outcome in zip(block, outcomes, strict=True):
                if isinstance(outcome, TrainingPair):
                    with self._telemetry.step("shards", video_id):
                        writer.add(replace(outcome, teachers=teachers), shot.index)
                    seconds = outcome.quality.interval_seconds
                    self._telemetry.observe("propagated_interval_seconds", seconds, video_id)
                    tally.keep(reach.ended)
                else:
                    tally.lose(outcome)
            self._telemetry.progress(video_id, "propagate", block[-1].start + 1, len(manifest.frame_indices))

    def _training_pair(
        self, manifest: FrameManifest, reach: Reach, joiner: Joiner, num_matchers: int
    ) -> TrainingPair | str:
        """What is kept of a start, or the reason for nothing."""
        if reach.chain is None:
            return reach.ended
        if reach.end - reach.start < self._config.min_interval:
            return TOO_NEAR
        final = joiner.final(reach.chain, reach.start, reach.end)
        if final is None:
            return NO_FIT
        chain, confirmed_share = final
        if len(chain.points) < self._config.min_kept:
            return TOO_FEW_KEPT
        if median_displacement_px(chain.points) < self._config.min_displacement_px:
            return NO_MOTION
        F01 = chain.F01 if chain.F01 is not None else _geometry(chain.points)
        if F01 is None:
            return NO_FIT
        frame0, frame1 = manifest.frame_indices[reach.start], manifest.frame_indices[reach.end]
        time0, time1 = manifest.frame_times[reach.start], manifest.frame_times[reach.end]
        with self._telemetry.step("quality", manifest.video_id):
            quality = assess_pair(
                chain.points,
                F01,
                width=manifest.width,
                height=manifest.height,
                interval_frames=frame1 - frame0,
                interval_seconds=time1 - time0,
                num_links=chain.num_links,
                guided_share=float(chain.is_guided.mean()),
                confirmed_share=confirmed_share,
                num_matchers=num_matchers,
            )
        return TrainingPair(manifest.video_id, frame0, frame1, time0, time1, chain.points, F01, quality)


def _geometry(points: Float32Array) -> Float64Array | None:
    """Epipolar geometry for the reader of a pair whose recipe fits none and keeps every link."""
    fit = fit_fundamental(points, RobustFitConfig())
    return None if fit is None else fit.F01
