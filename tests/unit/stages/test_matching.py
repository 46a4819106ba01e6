"""Networks behind the label stage: frames computed once, batches that change nothing, nothing half-written.

The networks are small ones of the tests' own that find what RootSIFT finds, so that labels are right and calls can be
counted; and GIM's LoFTR with weights filled by rule, as it is.
"""

import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
import pytest

from gim import codecs
from gim.inference.config import InferenceConfig
from gim.labels.pairing import LABELLED, base_pairs
from gim.matchers.base import correspondences_of
from gim.matchers.network import DenseMatcher, Encoded, ModelResources, SparseNetworkMatcher
from gim.matchers.registry import load_matcher
from gim.ports.telemetry import NullTelemetry
from gim.records import Correspondences, Features, FrameManifest, PairsManifest, SegmentLabels
from gim.runtime.wiring import choose_guide
from gim.stages.matching import PlainMatching, segment_matching
from gim.stages.samples import SampleReader
from gim.wire.v1 import events_pb2
from tests.matcher_files import files_of
from tests.synthetic import small_clip
from tests.unit.stages.pipeline import Pipeline, quick_rootsift

INTERVALS = (1, 2, 4)


@pytest.fixture(scope="module", autouse=True)
def _torch(lacks_models) -> None:
    if importlib.util.find_spec("torch") is None:
        lacks_models("needs torch")


@dataclass(frozen=True, slots=True)
class NoSettings:
    """Of a network without weights."""


@dataclass
class Calls:
    """What a network was asked."""

    frames: Counter = field(default_factory=Counter)  # content of an image -> times it was computed
    batches: list[int] = field(default_factory=list)  # pairs of each call
    held: list[int] = field(default_factory=list)  # maps alive at each of these calls
    fail_after: float = math.inf  # pairs, then one call fails

    def count_pairs(self, num: int, alive: int = 0) -> None:
        self.batches.append(num)
        self.held.append(alive)
        if sum(self.batches) > self.fail_after:
            self.fail_after = math.inf
            raise RuntimeError("the device is gone")


class Maps:
    """What the dense network below holds of an image."""

    def __init__(self, features: Features) -> None:
        self.features = features


def resources(batch_size: int) -> ModelResources:
    return ModelResources(InferenceConfig(device="cpu", batch_size=batch_size))


class CountedDense(DenseMatcher):
    """A dense network as far as its callers can tell."""

    name: ClassVar[str] = "counted_dense"
    weight_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, batch_size: int = 8, calls: Calls | None = None) -> None:
        super().__init__(NoSettings(), resources(batch_size))
        self.calls = calls or Calls()
        self._inner = quick_rootsift()
        self.alive: WeakSet[Maps] = WeakSet()

    def _build(self, device: Any) -> Any:
        return device

    def _encode(self, images: Any) -> list[Encoded]:
        found = []
        for image, mask in images:
            self.calls.frames[image.tobytes()] += 1
            maps = Maps(self._inner.extract(image, mask))
            self.alive.add(maps)
            found.append(Encoded((image.shape[1], image.shape[0]), image.shape, maps))
        return found

    def _match(self, pairs: Any) -> list[Correspondences]:
        self.calls.count_pairs(len(pairs), len(self.alive))
        both = [(first.maps.features, second.maps.features) for first, second in pairs]
        return [correspondences_of(*pair, *self._inner.match_features(*pair)) for pair in both]


class CountedSparse(SparseNetworkMatcher):
    """A sparse network as far as its callers can tell."""

    name: ClassVar[str] = "counted_sparse"
    weight_fields: ClassVar[tuple[str, ...]] = ()
    descriptor_size = 128

    def __init__(self, batch_size: int = 8, calls: Calls | None = None) -> None:
        super().__init__(NoSettings(), resources(batch_size))
        self.calls = calls or Calls()
        self._inner = quick_rootsift()

    def _build(self, device: Any) -> Any:
        return device

    def _extract(self, images: Any) -> list[Features]:
        self.calls.frames.update(image.tobytes() for image, _ in images)
        return [self._inner.extract(image, mask) for image, mask in images]

    def _match(self, pairs: Any) -> Any:
        self.calls.count_pairs(len(pairs))
        return [self._inner.match_features(*pair) for pair in pairs]

    def distance(self, features0: Features, features1: Features, candidates: Any) -> Any:
        return self._inner.distance(features0, features1, candidates)


COUNTED = [CountedDense, CountedSparse]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, FrameManifest]]:
    """The frames of a moving shot of 2.4 s and a still one: segments of five samples, so that they overlap."""
    folder = tmp_path_factory.mktemp("ingested")
    small_clip(folder / "clip.mp4", kind="terrain", duration_seconds=2.4, still_seconds=1.2, size=(240, 136), fps=10)
    with Pipeline(folder / "store") as pipeline:
        list(pipeline.ingest.handle(events_pb2.VideoRequested(source=str(folder / "clip.mp4"))))
        (key,) = [key for key in pipeline.store.list("frames/") if key.endswith("/manifest.json")]
        yield pipeline, codecs.from_json(FrameManifest, pipeline.store.get(key))


@pytest.fixture
def pipeline_of(ingested: tuple[Pipeline, FrameManifest], tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """Makes a pipeline of a matcher, over the frames and in a store of its own."""
    with ExitStack() as opened:

        def make(matcher: Any) -> Pipeline:
            root = tmp_path / f"store-{len(list(tmp_path.iterdir()))}"
            pipeline = opened.enter_context(Pipeline(root, matchers=[matcher]))
            for prefix in ("videos/", "frames/"):
                for key, data in ingested[0].objects(prefix).items():
                    pipeline.store.put(key, data)
            return pipeline

        yield make


@pytest.fixture
def label(ingested: tuple[Pipeline, FrameManifest]) -> Callable[..., dict[str, bytes]]:
    """Labels segments, by default all in order, and gives what lies in the store."""
    manifest = ingested[1]

    def run(pipeline: Pipeline, *segments: int) -> dict[str, bytes]:
        (stage,) = pipeline.label.values()
        for segment in segments or range(len(manifest.segments)):
            video = {"video_id": manifest.video_id, "sampling_id": manifest.sampling_id}
            list(stage.handle(events_pb2.SegmentReady(**video, segment=segment)))
        return pipeline.objects("labels/")

    return run


def found_by(matching: Any, manifest: FrameManifest) -> dict[tuple[int, int], Correspondences]:
    """What a way of matching finds for every pair of a video."""
    found = {}
    for segment in manifest.segments:
        pairs = base_pairs(manifest, segment, INTERVALS)
        results = matching.run(manifest, segment, pairs, lambda pair, item: (pair, item))
        assert [pair for pair, _ in results] == pairs
        found |= dict(results)
    return found


def both_ways(source: Pipeline, matcher: Any, manifest: FrameManifest) -> list[dict[tuple[int, int], Correspondences]]:
    """The pairs of a video as the label stage has them matched, and each by itself."""
    with ThreadPoolExecutor(2) as executor:
        arguments = (source.store, SampleReader(source.store), max(INTERVALS), executor, NullTelemetry())
        ways = (segment_matching(matcher, *arguments), PlainMatching(matcher, *arguments))
        return [found_by(way, manifest) for way in ways]


# --- each frame once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
@pytest.mark.parametrize("network", COUNTED)
def test_every_frame_is_computed_once_though_it_is_in_up_to_six_pairs(
    ingested: Any, pipeline_of: Any, label: Any, network: Any, batch_size: int
) -> None:
    manifest, matcher = ingested[1], network(batch_size)
    label(pipeline_of(matcher))
    pairs = [pair for segment in manifest.segments for pair in base_pairs(manifest, segment, INTERVALS)]
    uses = Counter(sample for pair in pairs for sample in pair)
    assert len(manifest.segments) > 2
    assert max(uses.values()) == 6
    assert len(matcher.calls.frames) == len(uses)
    assert set(matcher.calls.frames.values()) == {1}
    assert sum(matcher.calls.batches) == len(pairs)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_maps_are_let_go_as_soon_as_no_later_pair_needs_them(pipeline_of: Any, label: Any, batch_size: int) -> None:
    matcher = CountedDense(batch_size)
    label(pipeline_of(matcher))
    # The pairs of a batch begin at so many samples at most, and reach from the last of them to its farthest partner.
    starts = -(-batch_size // len(INTERVALS)) + 1
    assert 2 <= max(matcher.calls.held) <= starts + max(INTERVALS)
    assert len(matcher.alive) == 0


@pytest.mark.parametrize("network", COUNTED)
def test_segments_out_of_order_cost_time_and_change_nothing(
    ingested: Any, pipeline_of: Any, label: Any, network: Any
) -> None:
    in_order = label(pipeline_of(network()))
    assert label(pipeline_of(network()), *reversed(range(len(ingested[1].segments)))) == in_order


# --- the same as one by one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", COUNTED)
def test_batches_and_reuse_find_what_each_pair_alone_gives(ingested: Any, network: Any) -> None:
    reused, alone = both_ways(ingested[0], network(3), ingested[1])
    assert sum(len(found.points) for found in alone.values()) > 1000
    for pair, found in alone.items():
        np.testing.assert_array_equal(reused[pair].points, found.points)
        np.testing.assert_array_equal(reused[pair].confidence, found.confidence)


def test_a_real_dense_network_encodes_once_and_finds_what_each_pair_alone_gives(
    ingested: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**files_of("gim_loftr", tmp_path, None).settings, "max_side_px": 128}
    matcher = load_matcher("gim_loftr", settings, resources(4))
    num_encoded, encode = [], matcher._encode  # type: ignore[attr-defined]
    monkeypatch.setattr(matcher, "_encode", lambda images: (num_encoded.append(len(images)), encode(images))[1])
    source, manifest = ingested
    manifest = replace(manifest, segments=manifest.segments[:1])
    reused, alone = both_ways(source, matcher, manifest)
    num_frames = len({sample for pair in alone for sample in pair})
    assert sum(num_encoded) == num_frames + 2 * len(alone)
    together, singly = (np.vstack([way[pair].points for pair in alone]) for way in (reused, alone))
    assert len(singly) > 100
    assert len(together) == len(singly)
    assert np.quantile(np.abs(together - singly), 0.97) < 1e-2


@pytest.mark.parametrize("network", COUNTED)
def test_labels_do_not_depend_on_the_size_of_batches(pipeline_of: Any, label: Any, network: Any) -> None:
    one, three, eight = (label(pipeline_of(network(size))) for size in (1, 3, 8))
    assert one == three == eight
    labels = [codecs.from_npz(SegmentLabels, data) for data in one.values()]
    assert sum(int((item.outcomes == LABELLED).sum()) for item in labels) > 20


# --- faults and teachers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", COUNTED)
def test_a_network_that_fails_in_the_middle_leaves_whole_labels_and_goes_on_from_there(
    pipeline_of: Any, label: Any, network: Any
) -> None:
    whole = label(pipeline_of(network(2)))
    failing = network(2, Calls(fail_after=20))  # 15 pairs are a segment: in the middle of the second
    pipeline = pipeline_of(failing)
    with pytest.raises(RuntimeError, match="the device is gone"):
        label(pipeline)
    assert pipeline.objects("labels/") == dict(list(whole.items())[:1])
    assert label(pipeline) == whole  # the device is back


@pytest.mark.parametrize("network", COUNTED)
def test_a_network_that_fails_costs_its_own_labels_only(ingested: Any, tmp_path: Path, network: Any) -> None:
    source = ingested[0]
    failing = network(2, Calls(fail_after=20))
    with Pipeline(tmp_path / "store", matchers=[quick_rootsift(), failing]) as pipeline:
        for prefix in ("videos/", "frames/"):
            for key, data in source.objects(prefix).items():
                pipeline.store.put(key, data)
        events = [
            events_pb2.SegmentReady(
                video_id=ingested[1].video_id, sampling_id=ingested[1].sampling_id, segment=segment.index
            )
            for segment in ingested[1].segments
        ]
        bells = [bell for event in events for _, bell in pipeline.label["rootsift"].handle(event)]
        with pytest.raises(RuntimeError, match="the device is gone"):
            [list(pipeline.label[failing.name].handle(event)) for event in events]
        assert all(list(pipeline.propagate.handle(bell)) == [] for bell in bells)
        last = events_pb2.LabelsReady(video_id=bells[0].video_id, sampling_id=bells[0].sampling_id, final=True)
        ((_, done),) = pipeline.propagate.handle(last)
        assert done.num_pairs > 0
        (key,) = [key for key in pipeline.store.list("pairs/") if key.endswith("/manifest.json")]
        pairs = codecs.from_json(PairsManifest, pipeline.store.get(key))
        assert pairs.matcher_ids == [pipeline.matcher_ids["rootsift"]]
        assert [teacher.matcher for teacher in pairs.teachers] == ["rootsift"]


def test_a_network_guides_only_for_want_of_a_matcher_that_is_none() -> None:
    rootsift, sparse, other, dense = quick_rootsift(), CountedSparse(), CountedSparse(), CountedDense()
    assert choose_guide([dense, sparse, rootsift]) is rootsift
    assert choose_guide([dense, sparse, other]) is sparse
    assert choose_guide([dense]) is None
