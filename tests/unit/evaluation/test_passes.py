"""Both passes in a store: nothing is done twice, nothing is lost, and what is damaged is made again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.errors import CorruptObject, InvalidInput
from gim.evaluation import passes
from gim.evaluation.passes import Evaluation, Predictions, Shard
from gim.ports.telemetry import NullTelemetry
from gim.records import Correspondences, Float32Array, Float64Array
from tests.planted_matches import PlantedConfig, PlantedMatcher, PlantedViews

NUM_PAIRS = 11
CHUNK = 3
NUM_CHUNKS = 4
PAIRS = [(index, index + 1) for index in range(NUM_PAIRS)]
VIEWS = PlantedViews([(str(first), str(second)) for first, second in PAIRS])


class Summing:
    """Says of correspondences what tells them apart: place, number, sum."""

    def __init__(self, name: str = "summing-00000000") -> None:
        self.id = name
        self.scored: list[int] = []

    def score(self, pair: int, points: Float32Array) -> Float64Array:
        self.scored.append(pair)
        return np.array([[pair, len(points), points.sum(dtype=np.float64)]])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "CHUNK", CHUNK)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def table() -> dict[tuple[int, int], Float32Array]:
    """From none to ten correspondences a pair."""
    random = np.random.default_rng(0)
    return {pair: random.uniform(0, 100, (pair[0], 4)).astype(np.float32) for pair in PAIRS}


def evaluation(store: FileStore, **parts: Any) -> Evaluation:
    given = {"views": VIEWS, "scorer": Summing(), "matcher": PlantedMatcher(table()), **parts}
    return Evaluation(store, **given)


def run(item: Evaluation, shard: Shard | None = None, **more: Any) -> int:
    with ThreadPoolExecutor(2) as executor:
        return item.run(executor, shard=shard, **more)


def contents(store: FileStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list("predictions/")}


def expected_rows() -> Float64Array:
    """What a plain loop makes of it."""
    known = table()
    return np.array(
        [[[place, len(known[pair]), known[pair].sum(dtype=np.float64)]] for place, pair in enumerate(PAIRS)]
    )


def test_rows_are_those_of_a_plain_loop_and_every_pair_is_matched_once(store: FileStore) -> None:
    matcher, scorer = PlantedMatcher(table()), Summing()
    item = evaluation(store, matcher=matcher, scorer=scorer)
    assert item.rows() is None
    assert run(item) == NUM_PAIRS
    assert np.array_equal(item.rows(), expected_rows())
    assert sorted(matcher.asked) == PAIRS
    assert sorted(scorer.scored) == list(range(NUM_PAIRS))
    assert len(contents(store)) == 2 * NUM_CHUNKS
    known = table()
    assert all(np.array_equal(found, known[pair]) for found, pair in zip(item.predictions(), PAIRS, strict=True))


def test_a_second_run_matches_and_scores_nothing_and_changes_no_byte(store: FileStore) -> None:
    first = evaluation(store)
    run(first)
    before = contents(store)
    written = {key: (store.root / key).stat().st_mtime_ns for key in before}
    matcher, scorer = PlantedMatcher(table()), Summing()
    again = evaluation(store, matcher=matcher, scorer=scorer)
    assert run(again) == 0
    assert (matcher.asked, scorer.scored) == ([], [])
    assert contents(store) == before
    assert {key: (store.root / key).stat().st_mtime_ns for key in before} == written
    assert np.array_equal(again.rows(), first.rows())


def test_another_store_gets_the_same_bytes(store: FileStore, tmp_path: Path) -> None:
    run(evaluation(store))
    other = FileStore(tmp_path / "other")
    run(evaluation(other), Shard(1, 2))
    run(evaluation(other), Shard(0, 2))
    assert contents(other) == contents(store)
    other.close()


def test_another_protocol_scores_the_same_matches(store: FileStore) -> None:
    run(evaluation(store))
    matcher, scorer = PlantedMatcher(table()), Summing("other-00000000")
    other = evaluation(store, matcher=matcher, scorer=scorer)
    assert other.rows() is None
    assert run(other) == 0
    assert matcher.asked == []
    assert sorted(scorer.scored) == list(range(NUM_PAIRS))
    assert np.array_equal(other.rows(), expected_rows())
    assert np.array_equal(evaluation(store).rows(), expected_rows())  # those of the first protocol stay


@pytest.mark.parametrize("fails_at", range(0, NUM_PAIRS, 2))
def test_what_was_done_before_a_failure_is_not_done_again(store: FileStore, tmp_path: Path, fails_at: int) -> None:
    broken = PlantedMatcher(table())
    broken.fails_at = fails_at
    with pytest.raises(RuntimeError, match="the device is gone"):
        run(evaluation(store, matcher=broken))
    kept = contents(store)
    whole = (fails_at // CHUNK) * CHUNK
    assert len([key for key in kept if key.count("/") == 3]) * CHUNK == whole
    matcher = PlantedMatcher(table())
    item = evaluation(store, matcher=matcher)
    assert run(item) == NUM_PAIRS - whole
    assert sorted(matcher.asked) == PAIRS[whole:]
    assert kept.items() <= contents(store).items()
    undisturbed = FileStore(tmp_path / "undisturbed")
    run(evaluation(undisturbed))
    assert contents(store) == contents(undisturbed)
    undisturbed.close()


def test_a_failing_scorer_costs_no_matches(store: FileStore) -> None:
    class Failing(Summing):
        def score(self, pair: int, points: Float32Array) -> Float64Array:
            if pair == 4:
                raise RuntimeError("out of memory")
            return super().score(pair, points)

    with pytest.raises(RuntimeError, match="out of memory"):
        run(evaluation(store, scorer=Failing()))
    matched = len([key for key in contents(store) if key.count("/") == 3]) * CHUNK
    item = evaluation(store)
    assert run(item) == max(NUM_PAIRS - matched, 0)
    assert np.array_equal(item.rows(), expected_rows())


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_shards_put_together_are_one_run(store: FileStore, tmp_path: Path, number: int) -> None:
    matcher = PlantedMatcher(table())
    for index in reversed(range(number)):
        item = evaluation(store, matcher=matcher)
        assert (item.rows() is None) is (len(matcher.asked) < NUM_PAIRS)
        run(item, Shard(index, number))
    assert sorted(matcher.asked) == PAIRS
    assert run(evaluation(store)) == 0
    whole = FileStore(tmp_path / "whole")
    run(evaluation(whole))
    assert contents(whole) == contents(store)
    assert np.array_equal(evaluation(store).rows(), expected_rows())
    whole.close()


@given(num_pairs=st.integers(0, 400), number=st.integers(1, 40))
def test_shards_share_chunks_out_evenly(num_pairs: int, number: int) -> None:
    shares = [Shard(index, number).chunks(num_pairs) for index in range(number)]
    assert [chunk for share in shares for chunk in share] == list(range(-(-num_pairs // passes.CHUNK)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "text", ["", "1", "/", "1/", "/3", "3/3", "4/3", "-1/3", "a/3", "0/b", "0/0", "0.5/2", "1/2/3"]
)
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"expected I/N with I from 0 to N - 1, as in 0/4"):
        Shard.parse(text)
    assert Shard.parse("2/3") == Shard(2, 3)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 0xFF]) + data[201:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": _cut,
    "empty": lambda _: b"",
    "a bit": _flipped,
    "nonsense": lambda _: b"PK\x03\x04 but nothing else",
    "of fewer pairs": lambda _: codecs.to_npz(Predictions.pack([correspondences(2)])),
    "of more rows": lambda _: codecs.to_npz(
        Predictions(np.array([0, 1, 2, 3]), np.zeros((9, 4), np.float32), np.zeros(9, np.float32))
    ),
    "another record": lambda _: codecs.to_npz(correspondences(3)),
}


def correspondences(number: int) -> Correspondences:
    return Correspondences(np.ones((number, 4), np.float32), np.ones(number, np.float32))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_chunk_of_predictions_is_matched_again(store: FileStore, damage: Callable[[bytes], bytes]) -> None:
    run(evaluation(store))
    before = contents(store)
    key = sorted(key for key in before if key.count("/") == 3)[1]
    store.put(key, damage(before[key]))
    kept = evaluation(store)
    assert run(kept) == 0  # the scores are there, and nobody asks for more
    assert [len(found) for found in kept.predictions()] == [0, 1, 2, 0, 0, 0, 6, 7, 8, 9, 10]
    matcher = PlantedMatcher(table())
    other = evaluation(store, matcher=matcher, scorer=Summing("other-00000000"))
    assert run(other) == CHUNK
    assert sorted(matcher.asked) == PAIRS[3:6]
    assert np.array_equal(other.rows(), expected_rows())
    assert before.items() <= contents(store).items()


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda _: b""], ids=["cut", "a bit", "empty"])
def test_a_damaged_chunk_of_scores_is_scored_again(store: FileStore, damage: Callable[[bytes], bytes]) -> None:
    run(evaluation(store))
    before = contents(store)
    for key in sorted(key for key in before if key.count("/") == 4)[:2]:
        store.put(key, damage(before[key]))
    assert evaluation(store).rows() is None
    matcher, scorer = PlantedMatcher(table()), Summing()
    item = evaluation(store, matcher=matcher, scorer=scorer)
    assert run(item) == 0
    assert (matcher.asked, sorted(scorer.scored)) == ([], list(range(2 * CHUNK)))
    assert contents(store) == before


def test_a_chunk_that_is_taken_away_is_made_again(store: FileStore) -> None:
    run(evaluation(store))
    before = contents(store)
    for key in [key for key in before if key.endswith("000002.npz")]:
        store.delete(key)
    matcher = PlantedMatcher(table())
    assert run(evaluation(store, matcher=matcher)) == CHUNK
    assert sorted(matcher.asked) == PAIRS[6:9]
    assert contents(store) == before


def test_another_matcher_or_other_views_are_matched_anew(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluation(store)
    run(first)
    other = PlantedMatcher(table(), PlantedConfig(variant=1))
    assert run(evaluation(store, matcher=other)) == NUM_PAIRS
    assert run(evaluation(store, views=PlantedViews(VIEWS.pairs, "planted-00000001"))) == NUM_PAIRS
    monkeypatch.setattr(PlantedMatcher, "revision", 2)
    assert run(evaluation(store)) == NUM_PAIRS
    monkeypatch.undo()
    monkeypatch.setattr(passes, "CHUNK", CHUNK + 1)  # else chunks of unlike sizes would be taken for each other
    resized = evaluation(store)
    assert run(resized) == NUM_PAIRS
    assert np.array_equal(resized.rows(), expected_rows())


@pytest.mark.parametrize("done_before", [None, Shard(0, 2), Shard()])
def test_progress_counts_every_pair_once_done_or_there(store: FileStore, done_before: Shard | None) -> None:
    if done_before:
        run(evaluation(store), done_before)
    counted: list[int] = []
    run(evaluation(store), on_pairs=counted.append)
    assert sum(counted) == NUM_PAIRS
    assert max(counted) <= CHUNK


def test_an_image_that_cannot_be_read_is_said_and_the_rest_is_kept(store: FileStore) -> None:
    class Missing(PlantedViews):
        def image(self, name: str) -> Any:
            if name == "8":
                raise InvalidInput("views/8.png: cannot be read (No such file or directory)")
            return super().image(name)

    with pytest.raises(InvalidInput, match=r"views/8\.png: cannot be read"):
        run(evaluation(store, views=Missing(VIEWS.pairs)))
    assert run(evaluation(store)) == NUM_PAIRS - 6
    assert np.array_equal(evaluation(store).rows(), expected_rows())


def test_steps_are_told_under_the_runs_id(store: FileStore) -> None:
    steps: list[tuple[str, str]] = []

    class Told(NullTelemetry):
        def step(self, name: str, video_id: str) -> AbstractContextManager[None]:
            steps.append((name, video_id))
            return super().step(name, video_id)

    run(evaluation(store), telemetry=Told(), run_id="run-7")
    assert set(steps) == {("matching", "run-7"), ("scoring", "run-7")}
    assert steps.count(("matching", "run-7")) == NUM_CHUNKS
    assert steps.count(("scoring", "run-7")) == NUM_PAIRS


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_predictions_come_back_as_they_were_packed(numbers: list[int]) -> None:
    random = np.random.default_rng(len(numbers))
    found = [
        Correspondences(random.normal(size=(n, 4)).astype(np.float32), random.random(n).astype(np.float32))
        for n in numbers
    ]
    data = codecs.to_npz(Predictions.pack(found))
    assert data == codecs.to_npz(Predictions.pack(found))
    back = codecs.from_npz(Predictions, data)
    assert all(np.array_equal(back.points_of(place), item.points) for place, item in enumerate(found))
    assert np.array_equal(back.confidence, np.concatenate([item.confidence for item in found]))
    for end in range(0, len(data), 101):
        with suppress(CorruptObject):
            codecs.from_npz(Predictions, data[:end])  # never anything but this
            pytest.fail("a part was taken for the whole")
