"""An evaluation shared out: any order and any number of workers make one report; and what is refused."""

import gc
import random
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gim import keys
from gim.adapters.kafka.partitioner import choose_partition
from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import put_benchmark, remove_benchmark
from gim.errors import InvalidInput, UnknownMatcher
from gim.evaluation import passes
from gim.evaluation.checkpoint import Checkpoint
from gim.evaluation.passes import Shard, predictor_id
from gim.evaluation.protocols import protocol_named
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.ports.telemetry import NullTelemetry
from gim.stages.evaluate import EvaluateStage, EvaluationReport, Judge
from gim.stages.evaluate_shards import EvaluateShardStage, HeldMatcher, PlanEvaluationStage
from gim.wire.v1.events_pb2 import CheckpointReady, EvaluationReady, EvaluationShardPlanned
from tests.posed_scene import write_scene

NUM_PAIRS, SHARD_PAIRS = 6, 2
READY = CheckpointReady(run_id="sift", step=7, matcher="rootsift", dataset_id="videos-01234567")
PROTOCOL = protocol_named("gim")
QUICK = {"rootsift": {"max_keypoints": 200}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene") / "room", num_pairs=NUM_PAIRS)


@pytest.fixture(scope="module")
def whole_report(tmp_path_factory: pytest.TempPathFactory, scene: Path) -> bytes:
    """The report of the stage that shares nothing out, of a store of its own."""
    other = FileStore(tmp_path_factory.mktemp("whole") / "store")
    put_benchmark(other, "room", scene)
    with ThreadPoolExecutor(1) as executor:
        stage = EvaluateStage(
            other,
            matcher_settings=QUICK,
            resources=ModelResources(),
            executor=executor,
            telemetry=NullTelemetry(),
            protocol=PROTOCOL,
        )
        ((_, ready),) = stage.handle(READY)
    assert isinstance(ready, EvaluationReady)
    report = other.get(ready.report)
    other.close()
    return report


@pytest.fixture
def store(tmp_path: Path, scene: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    put_benchmark(opened, "room", scene)
    yield opened
    opened.close()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _kept_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "CHUNK", 1)


@pytest.fixture
def judge(store: FileStore, executor: ThreadPoolExecutor) -> Judge:
    return Judge(
        store=store,
        matcher_settings=QUICK,
        resources=ModelResources(),
        executor=executor,
        telemetry=NullTelemetry(),
        protocol=PROTOCOL,
    )


def plan(judge: Judge, event: CheckpointReady = READY) -> list[tuple[str, Any]]:
    return list(PlanEvaluationStage(judge, HeldMatcher(judge.loaded), shard_pairs=SHARD_PAIRS).handle(event))


def shards(judge: Judge) -> list[EvaluationShardPlanned]:
    return [event for _, event in plan(judge)]


def worker(judge: Judge) -> EvaluateShardStage:
    return EvaluateShardStage(judge, HeldMatcher(judge.loaded))


def work(judge: Judge, event: EvaluationShardPlanned) -> list[EvaluationReady]:
    """Handle a share as a process does that has just started."""
    produced = list(worker(judge).handle(event))
    assert [key for key, _ in produced] == [event.run_id] * len(produced)
    return [ready for _, ready in produced if isinstance(ready, EvaluationReady)]


def test_a_plan_covers_each_benchmark_and_spreads_over_consumers(judge: Judge, store: FileStore, scene: Path) -> None:
    put_benchmark(store, "hall", scene)
    planned = plan(judge)
    assert [(event.benchmark.partition("-")[0], event.shard, event.num_shards) for _, event in planned] == [
        (name, shard, 3) for name in ("hall", "room") for shard in range(3)
    ]
    for first in (0, 3):
        partitions = [choose_partition(key.encode(), 6) for key, _ in planned[first : first + 3]]
        assert len(set(partitions)) == 3
    assert {event.dataset_id for _, event in planned} == {READY.dataset_id}
    assert all(len(event.SerializeToString()) < 400 for _, event in planned)


def test_a_small_benchmark_is_one_share(judge: Judge) -> None:
    held = HeldMatcher(judge.loaded)
    for shard_pairs, expected in ((1, 6), (5, 2), (6, 1), (512, 1)):
        stage = PlanEvaluationStage(judge, held, shard_pairs=shard_pairs)
        assert len(list(stage.handle(READY))) == expected


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_shares_in_any_order_make_the_report_of_one_process(
    judge: Judge, store: FileStore, whole_report: bytes, matched: list[int], order: Sequence[int]
) -> None:
    planned = shards(judge)
    told = [work(judge, planned[index]) for index in order]
    assert told[:2] == [[], []]
    ((ready,),) = told[2:]
    assert sum(matched) == NUM_PAIRS
    assert (ready.run_id, ready.step, ready.benchmark) == ("sift", 7, planned[0].benchmark)
    assert store.get(ready.report) == whole_report


def test_two_workers_at_once_share_the_work(judge: Judge, matched: list[int], whole_report: bytes) -> None:
    planned = shards(judge)
    random.Random(0).shuffle(planned)
    with ThreadPoolExecutor(3) as pool:
        told = [ready for found in pool.map(lambda event: work(judge, event), planned) for ready in found]
    assert 1 <= len(told) <= 3  # whoever finds all there says so
    assert len({ready.report for ready in told}) == 1
    assert sum(matched) == NUM_PAIRS
    assert judge.store.get(told[0].report) == whole_report


def test_a_share_that_comes_again_matches_nothing_and_loads_nothing(judge: Judge, matched: list[int]) -> None:
    planned = shards(judge)
    (ready,) = [ready for event in planned for ready in work(judge, event)]
    before = {key: judge.store.get(key) for key in judge.store.list()}

    def refuse(_: Checkpoint) -> Any:
        pytest.fail("loaded")

    stage = EvaluateShardStage(judge, HeldMatcher(refuse))
    assert [event for planned_event in planned for _, event in stage.handle(planned_event)] == [ready] * 3
    assert [event for _, event in plan(judge)] == [ready]
    assert sum(matched) == NUM_PAIRS
    assert {key: judge.store.get(key) for key in judge.store.list()} == before


def test_what_is_damaged_of_another_share_is_made_again_by_the_last(
    judge: Judge, matched: list[int], whole_report: bytes
) -> None:
    planned = shards(judge)
    assert [work(judge, event) for event in planned[:2]] == [[], []]
    for key in list(judge.store.list("predictions/")):
        if key.endswith("/000000.npz"):  # of the first share: correspondences and scores
            judge.store.put(key, judge.store.get(key)[:50])
    (ready,) = work(judge, planned[2])
    assert sum(matched) == NUM_PAIRS + 1
    assert judge.store.get(ready.report) == whole_report


def test_a_share_planned_for_something_else_is_refused_and_leaves_nothing(judge: Judge) -> None:
    (planned, *_) = shards(judge)
    others: list[tuple[Judge, str]] = [
        (replace(judge, matcher_settings={"rootsift": {"max_keypoints": 301}}), "matcher's settings changed"),
        (replace(judge, protocol=protocol_named("strict")), "protocol changed"),
    ]
    for other, said in others:
        with pytest.raises(InvalidInput, match=f"^planned for .*{said}.*publish the checkpoint again$"):
            work(other, planned)
    planned.predictor_id = "rootsift-00000000"
    with pytest.raises(InvalidInput, match="matcher or its weights changed"):
        work(judge, planned)
    assert list(judge.store.list("predictions/")) == []
    assert list(judge.store.list("reports/")) == []


def test_a_share_that_cannot_be_is_refused(judge: Judge) -> None:
    (planned, *_) = shards(judge)
    remove_benchmark(judge.store, planned.benchmark)
    with pytest.raises(InvalidInput, match=f"benchmark {planned.benchmark}: has gone"):
        work(judge, planned)
    planned.shard = 3
    with pytest.raises(InvalidInput, match="no shard 3 of 3"):
        work(judge, planned)
    planned.run_id = "a/b"
    with pytest.raises(InvalidInput, match="run id 'a/b'"):
        work(judge, planned)


@pytest.mark.parametrize(
    ("event", "error", "said"),
    [
        (CheckpointReady(run_id="r", step=1, matcher="rootsfit"), UnknownMatcher, "did you mean rootsift"),
        (
            CheckpointReady(run_id="r", step=1, matcher="rootsift", checkpoint="checkpoints/w.pt"),
            InvalidInput,
            "weights",
        ),
        (CheckpointReady(run_id="a/b", step=1, matcher="rootsift"), InvalidInput, "a name without a slash"),
    ],
)
def test_a_bad_checkpoint_is_one_error_before_anything_is_shared_out(
    judge: Judge, event: CheckpointReady, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan(judge, event)


# --- the matcher that is held -----------------------------------------------------------------------------------------


class Loads:
    """Loads matchers with settings of their own, and counts how many are open at once."""

    def __init__(self) -> None:
        self.settings = {"max_keypoints": 100}
        self.loaded: list[int] = []
        self.most_open = self.num_open = 0

    @contextmanager
    def __call__(self, checkpoint: Checkpoint) -> Iterator[Matcher]:
        self.loaded.append(checkpoint.step)
        self.num_open += 1
        self.most_open = max(self.most_open, self.num_open)
        try:
            yield load_matcher("rootsift", self.settings)
        finally:
            self.num_open -= 1


def at(step: int) -> Checkpoint:
    return Checkpoint("run", step, "rootsift")


def test_one_matcher_is_held_and_let_go_before_the_next_is_loaded() -> None:
    loads = Loads()
    held = HeldMatcher(loads)
    first = held.of(at(1))
    expected = predictor_id(first)
    assert held.of(at(1), expected_id=expected) is held.of(at(1), expected_id=expected) is first
    assert loads.loaded == [1]
    gone = weakref.ref(first)
    del first
    held.of(at(2), expected_id=expected)
    gc.collect()
    assert gone() is None
    assert (loads.loaded, loads.most_open) == ([1, 2], 1)
    held.close()
    held.close()
    assert loads.num_open == 0


def test_a_matcher_that_is_not_the_expected_one_is_loaded_anew() -> None:
    loads = Loads()
    held = HeldMatcher(loads)
    before = predictor_id(held.of(at(1)))
    loads.settings = {"max_keypoints": 200}  # as when the bytes of weights have changed
    assert predictor_id(held.of(at(1), expected_id=before)) == before
    after = predictor_id(held.of(at(1), expected_id="of the planner"))
    assert after != before
    assert predictor_id(held.of(at(1))) == after  # a planner asks for what the checkpoint is now
    assert loads.loaded == [1, 1, 1]


def test_after_a_failure_nothing_is_held() -> None:
    loads = Loads()
    held = HeldMatcher(loads)
    held.of(at(1))
    loads.settings = {"no_such": 1}
    with pytest.raises(Exception, match="no_such"):
        held.of(at(2))
    assert loads.num_open == 0
    loads.settings = {}
    assert held.of(at(1)).name == "rootsift"
    assert loads.loaded == [1, 2, 1]


# --- what is told -----------------------------------------------------------------------------------------------------


class Listener(NullTelemetry):
    """Remembers levels and what was observed."""

    def __init__(self) -> None:
        self.levels: list[dict[str, float]] = []
        self.observed: list[tuple[str, str]] = []

    def set_levels(self, name: str, levels: Sequence[tuple[Mapping[str, str], float]]) -> None:
        assert name == "evaluation_pairs"
        self.levels.append({labels["state"]: value for labels, value in levels})

    def observe(self, name: str, value: float, video_id: str = "", **labels: str) -> None:
        assert value > 0
        self.observed.append((name, labels["step"]))


def test_progress_counts_what_others_have_done_and_ends_with_the_share(judge: Judge) -> None:
    planned = shards(judge)
    work(judge, planned[2])
    listener = Listener()
    work(replace(judge, telemetry=listener), planned[0])
    assert listener.levels == [{"done": 2, "all": 6}, {"done": 3, "all": 6}, {"done": 4, "all": 6}, {}]
    assert sorted(listener.observed) == [
        ("evaluated_pair_seconds", step) for step in ("matching", "scoring") for _ in "12"
    ]
    listener.levels.clear()
    work(replace(judge, telemetry=listener), planned[0])  # again: its own are not counted twice
    assert listener.levels == [{"done": 2, "all": 6}, {"done": 3, "all": 6}, {"done": 4, "all": 6}, {}]


def test_whoever_reports_says_so(judge: Judge) -> None:
    told: list[EvaluationReport] = []
    on_report: Callable[[EvaluationReport], None] = told.append
    telling = replace(judge, on_report=on_report)
    for event in shards(telling):
        work(telling, event)
    ((_, ready),) = plan(telling)
    assert [report.benchmark for report in told] == [ready.benchmark] * 2  # written, and found by the planner
    assert keys.evaluation_report("sift", 7, ready.benchmark) == ready.report


@pytest.mark.parametrize(("num_pairs", "most_pairs"), [(1, 512), (16, 16), (17, 16), (100, 40), (1, 1), (5000, 512)])
def test_shards_hold_every_chunk_once_and_no_more_than_asked(
    monkeypatch: pytest.MonkeyPatch, num_pairs: int, most_pairs: int
) -> None:
    monkeypatch.setattr(passes, "CHUNK", 16)
    found = Shard.covering(num_pairs, most_pairs)
    sizes = [len(shard.chunks(num_pairs)) for shard in found]
    assert [chunk for shard in found for chunk in shard.chunks(num_pairs)] == list(range(-(-num_pairs // 16)))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(most_pairs // 16, 1)
    assert min(sizes) >= 1
    assert len(found) == -(-sum(sizes) // max(most_pairs // 16, 1))
