"""The three stages on a rendered clip and a real store: what is written when, and that nothing depends on delivery."""

import gc
import itertools
import random
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.labels.shards import read_shard
from gim.ports.telemetry import NullTelemetry
from gim.records import FrameManifest, PairIndex, PairsManifest, SegmentFeatures, SegmentLabels
from gim.stages.labelled import StoredLabels
from gim.stages.samples import SampleReader
from gim.wire.v1 import events_pb2
from tests.synthetic import small_clip
from tests.unit.stages.pipeline import Broken, Pipeline, Strided, of_kind

MAIN_PREFIXES = ("videos/", "frames/", "labels/", "pairs/")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A moving shot of 2.4 s and a still one of 1.2 s."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small_clip(path, kind="terrain", duration_seconds=2.4, still_seconds=1.2, size=(240, 136), fps=10)
    return path


@pytest.fixture(scope="module")
def finished(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, list]]:
    """A run to compare with; nobody writes to it."""
    with Pipeline(tmp_path_factory.mktemp("finished") / "store", keep_features=True) as pipeline:
        yield pipeline, pipeline.run(clip)


@pytest.fixture
def pipeline(finished: tuple[Pipeline, list], tmp_path: Path) -> Iterator[Pipeline]:
    """A copy of the finished run's frames and features, without labels and pairs."""
    source = finished[0].store
    with Pipeline(tmp_path / "store") as copy:
        for prefix in ("videos/", "frames/"):
            for key in source.list(prefix):
                copy.store.put(key, source.get(key))
        copy.store.written.clear()
        yield copy


def manifest_of(pipeline: Pipeline) -> FrameManifest:
    (key,) = [key for key in pipeline.store.list("frames/") if key.endswith("/manifest.json")]
    return codecs.from_json(FrameManifest, pipeline.store.get(key))


def pairs_of(pipeline: Pipeline) -> PairsManifest:
    (key,) = [key for key in pipeline.store.list("pairs/") if key.endswith("/manifest.json")]
    return codecs.from_json(PairsManifest, pipeline.store.get(key))


def bells(pipeline: Pipeline, matcher: str = "rootsift") -> list[events_pb2.LabelsReady]:
    """Label every segment by one matcher."""
    manifest = manifest_of(pipeline)
    stage = pipeline.label[matcher]
    return [
        event
        for segment in manifest.segments
        for _, event in stage.handle(
            events_pb2.SegmentReady(video_id=manifest.video_id, sampling_id=manifest.sampling_id, segment=segment.index)
        )
    ]


# --- what is written --------------------------------------------------------------------------------------------------


def test_every_key_is_written_once_and_every_manifest_after_what_it_lists(finished: tuple[Pipeline, list]) -> None:
    pipeline, _ = finished
    written = pipeline.store.written
    assert len(set(written)) == len(written)
    assert set(written) == set(pipeline.store.list())
    manifest, pairs = manifest_of(pipeline), pairs_of(pipeline)
    video, sampling = manifest.video_id, manifest.sampling_id
    at = {key: position for position, key in enumerate(written)}
    assert at[keys.video_source(video, "mp4")] < at[keys.video_meta(video)]
    frames = [keys.frame_image(video, sampling, index) for index in manifest.frame_indices]
    assert max(at[key] for key in frames) < at[keys.frame_manifest(video, sampling)]
    labels = [
        keys.segment_labels(video, sampling, pipeline.matcher_ids["rootsift"], segment.index)
        for segment in manifest.segments
    ]
    assert at[keys.frame_manifest(video, sampling)] < min(at[key] for key in labels)
    shards = [shard.key for shard in pairs.shards]
    assert len(shards) > 1
    index, last = keys.pairs_index(video, pairs.recipe_id), keys.pairs_manifest(video, pairs.recipe_id)
    assert max(at[key] for key in [*labels, *shards]) < at[index] < at[last] == len(written) - 1


def test_events_follow_the_segments_and_end_in_one_result(finished: tuple[Pipeline, list]) -> None:
    pipeline, events = finished
    manifest, pairs = manifest_of(pipeline), pairs_of(pipeline)
    ready, labelled = of_kind(events, events_pb2.SegmentReady), of_kind(events, events_pb2.LabelsReady)
    done, *again = of_kind(events, events_pb2.PairsReady)  # every bell after the last label says it
    assert again == [done] * len(again)
    assert len(manifest.segments) > 2
    assert [event.segment for event in ready] == [segment.index for segment in manifest.segments]
    assert [event.segment for event in labelled] == [segment.index for segment in manifest.segments]
    assert sum(event.num_pairs for event in labelled) == sum(pairs.funnel.pairs_labelled.values())
    assert (done.video_id, done.recipe_id) == (manifest.video_id, pairs.recipe_id)
    assert (done.num_pairs, done.num_shards, done.rejected) == (pairs.num_pairs, len(pairs.shards), "")
    assert all(len(event.SerializeToString()) < 1024 for event in events)


def test_the_result_is_what_its_manifest_says(finished: tuple[Pipeline, list]) -> None:
    pipeline, _ = finished
    manifest, pairs = manifest_of(pipeline), pairs_of(pipeline)
    assert pairs.num_pairs > 5
    read = [pair for shard in pairs.shards for pair in read_shard(pipeline.store._store.root / shard.key)]
    assert [shard.num_pairs for shard in pairs.shards[:-1]] == [4] * (len(pairs.shards) - 1)
    assert sum(shard.num_pairs for shard in pairs.shards) == len(read) == pairs.num_pairs
    assert sum(len(pair.correspondences) for pair, _, _ in read) == pairs.num_correspondences
    index = codecs.from_json(PairIndex, pipeline.store.get(keys.pairs_index(pairs.video_id, pairs.recipe_id)))
    assert [(entry.frame0, entry.frame1, entry.quality) for entry in index.pairs] == [
        (pair.frame0, pair.frame1, pair.quality) for pair, _, _ in read
    ]
    shot_of = {
        manifest.frame_indices[sample]: shot.index
        for shot in manifest.shots
        for sample in range(shot.first_sample, shot.first_sample + shot.num_samples)
    }
    for entry, (pair, jpeg0, jpeg1) in zip(index.pairs, read, strict=True):
        assert shot_of[pair.frame0] == shot_of[pair.frame1] == entry.shot
        for frame, jpeg in ((pair.frame0, jpeg0), (pair.frame1, jpeg1)):
            assert jpeg == pipeline.store.get(keys.frame_image(pairs.video_id, pairs.sampling_id, frame))
        assert pair.correspondences.min() > -1
        assert (pair.correspondences.max(axis=0) < [manifest.width, manifest.height] * 2).all()


def test_the_funnel_accounts_for_every_frame_pair_and_start(finished: tuple[Pipeline, list]) -> None:
    pipeline, _ = finished
    manifest, pairs = manifest_of(pipeline), pairs_of(pipeline)
    funnel, matcher = pairs.funnel, pipeline.matcher_ids["rootsift"]
    used = [shot for shot in manifest.shots if not shot.rejected]
    assert [bool(shot.rejected) for shot in manifest.shots] == [False, True]
    assert (funnel.frames_decoded, funnel.frames_sampled) == (manifest.num_frames, len(manifest.frame_indices))
    assert funnel.frames_used + sum(funnel.frames_rejected.values()) == funnel.frames_sampled
    attempted = sum(max(shot.num_samples - interval, 0) for shot in used for interval in (1, 2, 4))
    assert funnel.pairs_attempted == {matcher: attempted}
    assert funnel.pairs_labelled[matcher] + sum(funnel.pairs_rejected[matcher].values()) == attempted
    assert funnel.starts == sum(shot.num_samples - 1 for shot in used)
    assert funnel.pairs_kept + sum(funnel.starts_rejected.values()) == funnel.starts
    assert sum(funnel.chain_ends.values()) == funnel.pairs_kept == pairs.num_pairs


# --- delivery ---------------------------------------------------------------------------------------------------------


def test_every_event_three_times_in_any_order_gives_the_same_bytes_and_the_same_events(
    finished: tuple[Pipeline, list], clip: Path, tmp_path: Path
) -> None:
    still, events = finished
    dice = random.Random(3)
    with Pipeline(tmp_path / "store", keep_features=True) as shaken:
        request = events_pb2.VideoRequested(source=str(clip))
        ingested = [list(shaken.ingest.handle(request)) for _ in range(3)]
        assert ingested[0] == ingested[1] == ingested[2]
        ready = [event for _, event in ingested[0]] * 3
        dice.shuffle(ready)
        labelled = [event for item in ready for _, event in shaken.label["rootsift"].handle(item)]
        dice.shuffle(labelled)
        done = [event for item in labelled for _, event in shaken.propagate.handle(item)]
        assert sorted(event.segment for event in labelled) == sorted([event.segment for event in ready])
        assert {event.SerializeToString() for event in labelled} == {
            event.SerializeToString() for event in of_kind(events, events_pb2.LabelsReady)
        }
        assert done == [of_kind(events, events_pb2.PairsReady)[0]] * len(done)
        assert len(set(shaken.store.written)) == len(shaken.store.written)
        for prefix in MAIN_PREFIXES:
            assert shaken.objects(prefix) == still.objects(prefix)
        for key, data in shaken.objects("features/").items():
            assert data == still.store.get(key)


def test_segments_in_any_order_and_with_any_threads_give_the_same_labels(
    finished: tuple[Pipeline, list], pipeline: Pipeline
) -> None:
    manifest = manifest_of(pipeline)
    with Pipeline(pipeline.store._store.root, threads=5) as other:
        for segment in reversed(manifest.segments):
            ready = events_pb2.SegmentReady(
                video_id=manifest.video_id, sampling_id=manifest.sampling_id, segment=segment.index
            )
            list(other.label["rootsift"].handle(ready))
        assert other.objects("labels/") == finished[0].objects("labels/")
        assert other.objects("features/") == finished[0].objects("features/")


def test_a_bell_too_early_makes_nothing(pipeline: Pipeline) -> None:
    manifest = manifest_of(pipeline)
    early = events_pb2.LabelsReady(video_id=manifest.video_id, sampling_id=manifest.sampling_id)
    assert list(pipeline.propagate.handle(early)) == []
    with pytest.raises(InvalidInput, match="no complete labels of rootsift"):
        list(
            pipeline.propagate.handle(
                events_pb2.LabelsReady(video_id=manifest.video_id, sampling_id=manifest.sampling_id, final=True)
            )
        )
    assert pipeline.store.written == []


@pytest.mark.parametrize("lost", ["last shard", "index", "manifest"])
def test_what_a_crash_left_undone_is_made_again_alike(
    finished: tuple[Pipeline, list], pipeline: Pipeline, lost: str
) -> None:
    for prefix in ("labels/", "pairs/"):
        for key, data in finished[0].objects(prefix).items():
            pipeline.store.put(key, data)
    ring = of_kind(finished[1], events_pb2.LabelsReady)[0]
    pairs = pairs_of(pipeline)
    order = [pairs.shards[-1].key, keys.pairs_index(pairs.video_id, pairs.recipe_id)]
    order.append(keys.pairs_manifest(pairs.video_id, pairs.recipe_id))
    for key in order[["last shard", "index", "manifest"].index(lost) :]:
        pipeline.store.delete(key)
    assert len(list(pipeline.propagate.handle(ring))) == 1
    assert pipeline.objects("pairs/") == finished[0].objects("pairs/")


# --- features ---------------------------------------------------------------------------------------------------------


def test_seconds_of_video_are_told_once_of_what_is_labelled(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []

    class Told(NullTelemetry):
        def count(self, name: str, value: float, video_id: str = "", **labels: str) -> None:
            if name == "labelled_video_seconds":
                told.append(value)

    manifest = manifest_of(pipeline)
    (stage,) = pipeline.label.values()
    monkeypatch.setattr(stage, "_telemetry", Told())
    for segment in [*manifest.segments, *manifest.segments]:  # the second time it finds what it has done
        about = {"video_id": manifest.video_id, "sampling_id": manifest.sampling_id, "segment": segment.index}
        list(stage.handle(events_pb2.SegmentReady(**about)))
    num_used = sum(segment.num_samples for segment in manifest.segments)
    assert len(told) == len(manifest.segments)
    assert sum(told) == pytest.approx(num_used * manifest.step_seconds)


def test_features_are_a_cache_that_goes_with_the_result_or_stays(
    finished: tuple[Pipeline, list], pipeline: Pipeline
) -> None:
    kept = list(finished[0].store.list("features/"))
    assert len(kept) == len(manifest_of(finished[0]).segments)
    packed = codecs.from_npz(SegmentFeatures, finished[0].store.get(kept[0]))
    assert len(packed.frames) == len(packed.offsets) - 1
    assert packed.offsets[-1] == len(packed.keypoints) == len(packed.descriptors)
    ring = bells(pipeline)[-1]
    assert list(pipeline.store.list("features/")) == kept
    list(pipeline.propagate.handle(ring))
    assert list(pipeline.store.list("features/")) == []
    assert pipeline.objects("pairs/") == finished[0].objects("pairs/")


def test_features_that_are_gone_are_made_again_to_the_last_bit(
    finished: tuple[Pipeline, list], pipeline: Pipeline
) -> None:
    # A recipe that looks at features, whatever the shipped one does at present.
    guided = ("propagation.refit.threshold_px=1.5", "propagation.guided.enabled=true", "propagation.min_links=20")
    root = pipeline.store._store.root
    results = []
    for prefix in ("labels/", "features/"):
        for key, data in finished[0].objects(prefix).items():
            pipeline.store.put(key, data)
    ring = of_kind(finished[1], events_pb2.LabelsReady)[0]
    for folder in ("with", "without"):
        shutil.copytree(root, root.parent / folder)
        with Pipeline(root.parent / folder, *guided, keep_features=True) as other:
            for key in list(other.store.list("features/"))[::2] if folder == "without" else []:
                other.store.delete(key)
            assert len(list(other.propagate.handle(ring))) == 1
            results.append(other.objects("pairs/"))
    assert results[0] == results[1]
    (manifest,) = [codecs.from_json(PairsManifest, data) for key, data in results[0].items() if "manifest" in key]
    assert manifest.recipe["guided"]["enabled"]
    assert manifest.num_pairs > 0


# --- several matchers -------------------------------------------------------------------------------------------------


def test_several_matchers_are_fused_and_counted_apart(pipeline: Pipeline, tmp_path: Path) -> None:
    matchers = (pipeline.matchers[0], Strided())
    with Pipeline(pipeline.store._store.root, matchers=matchers) as both:
        first = bells(both, "rootsift")
        assert [event for bell in first for event in both.propagate.handle(bell)] == []
        second = bells(both, "strided")
        done = [event for bell in second for event in both.propagate.handle(bell)]
        assert len(done) == len(second)  # every later bell finds the result and says so again
        pairs = pairs_of(both)
        assert pairs.matcher_ids == list(both.matcher_ids.values())
        assert set(pairs.funnel.pairs_labelled) == set(pairs.matcher_ids)
        index = codecs.from_json(PairIndex, both.store.get(keys.pairs_index(pairs.video_id, pairs.recipe_id)))
        assert {entry.quality.num_matchers for entry in index.pairs} == {2}


def test_a_matcher_that_fails_costs_the_video_nothing_but_its_own_labels(
    finished: tuple[Pipeline, list], pipeline: Pipeline
) -> None:
    with Pipeline(pipeline.store._store.root, matchers=(pipeline.matchers[0], Broken())) as both:
        rung = bells(both, "rootsift")
        with pytest.raises(RuntimeError, match="no device"):
            bells(both, "broken")
        assert [event for bell in rung for event in both.propagate.handle(bell)] == []
        last = events_pb2.LabelsReady(video_id=rung[0].video_id, sampling_id=rung[0].sampling_id, final=True)
        ((_, done),) = both.propagate.handle(last)
        pairs = pairs_of(both)
        assert pairs.matcher_ids == [both.matcher_ids["rootsift"]]
        assert done.num_pairs == pairs.num_pairs
        # The result is that of the matchers that were used: those who asked for these alone find it.
        assert both.objects("pairs/") == finished[0].objects("pairs/")


def test_a_matcher_that_the_recipe_requires_is_not_done_without(pipeline: Pipeline) -> None:
    matchers = (pipeline.matchers[0], Broken())
    with Pipeline(pipeline.store._store.root, matchers=matchers, required=("broken",)) as both:
        rung = bells(both, "rootsift")
        last = events_pb2.LabelsReady(video_id=rung[0].video_id, sampling_id=rung[0].sampling_id, final=True)
        with pytest.raises(InvalidInput, match="no complete labels of broken,"):
            list(both.propagate.handle(last))
        assert list(both.store.list("pairs/")) == []


# --- videos with nothing to label -------------------------------------------------------------------------------------


def test_a_still_video_ends_with_a_manifest_that_says_why(tmp_path: Path) -> None:
    clip = tmp_path / "still.mp4"
    small_clip(clip, duration_seconds=0.2, still_seconds=2.0, size=(240, 136), fps=10)
    with Pipeline(tmp_path / "store") as pipeline:
        events = pipeline.run(clip)
        manifest, pairs = manifest_of(pipeline), pairs_of(pipeline)
        assert manifest.segments == []
        assert manifest.rejected
        assert of_kind(events, events_pb2.SegmentReady) == []
        (done,) = of_kind(events, events_pb2.PairsReady)
        assert (done.num_pairs, done.num_shards, done.rejected) == (0, 0, manifest.rejected)
        assert (pairs.num_pairs, pairs.shards, pairs.rejected) == (0, [], manifest.rejected)
        assert sum(pairs.funnel.frames_rejected.values()) == pairs.funnel.frames_sampled
        assert pairs.funnel.starts == 0


def test_labels_that_hold_nowhere_end_with_the_commonest_reason(pipeline: Pipeline) -> None:
    with Pipeline(pipeline.store._store.root, "propagation.min_kept=100000") as strict:
        done = [event for bell in bells(strict) for _, event in strict.propagate.handle(bell)]
        pairs = pairs_of(strict)
        assert pairs.num_pairs == 0
        assert (
            pairs.rejected
            == done[-1].rejected
            == max(sorted(pairs.funnel.starts_rejected), key=pairs.funnel.starts_rejected.__getitem__)
        )


def test_labels_of_a_segment_are_of_all_its_pairs_and_no_other(finished: tuple[Pipeline, list]) -> None:
    pipeline, _ = finished
    manifest = manifest_of(pipeline)
    found: list[tuple[int, int]] = []
    for key in pipeline.store.list("labels/"):
        labels = codecs.from_npz(SegmentLabels, pipeline.store.get(key))
        segment = manifest.segments[int(Path(key).stem)]
        own = manifest.frame_indices[segment.first_sample : segment.first_sample + segment.num_samples]
        assert set(labels.frames[:, 0].tolist()) <= set(own)
        assert labels.offsets[-1] == len(labels.correspondences) == len(labels.confidence)
        for row, outcome in enumerate(labels.outcomes):
            assert (labels.offsets[row + 1] > labels.offsets[row]) == (outcome == "labelled")
        found += [tuple(pair) for pair in labels.frames.tolist()]
    assert found == sorted(set(found))
    assert len(found) == sum(
        max(shot.num_samples - interval, 0)
        for shot, interval in itertools.product(manifest.shots, (1, 2, 4))
        if not shot.rejected
    )


def test_what_a_shot_holds_goes_with_the_shot(finished: tuple[Pipeline, list]) -> None:
    pipeline, _ = finished
    labels = StoredLabels(
        pipeline.store,
        manifest_of(pipeline),
        0,
        list(pipeline.matcher_ids.values()),
        unique=True,
        guide_matcher=pipeline.matchers[0],  # type: ignore[arg-type]
        reader=SampleReader(pipeline.store),
    )
    assert labels.base(0, 1) is not None
    assert labels.guide(0, 1) is not None
    image = weakref.ref(labels.grey(0))
    assert image() is not None
    gc.disable()  # in a long video tens of shots would wait for a collection
    try:
        del labels
        assert image() is None
    finally:
        gc.enable()
