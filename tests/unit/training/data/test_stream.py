"""The stream: whatever the threads, the ranks and the interruptions, the same micro-batches as one after another."""

import gc
import json
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import ConfigError, CorruptObject, InvalidInput
from gim.training.config import LoopConfig, ReaderConfig, TrainingConfig
from gim.training.data.mixing import Mixture
from gim.training.data.order import Order
from gim.training.data.position import merge_states
from gim.training.data.stream import MicroBatch, MicroBatches
from tests.unit.training.data.fake_parts import FakePart, Made

CONFIG = TrainingConfig(
    loop=LoopConfig(batch_size=2, canonical_batch=8, seed=3),
    reader=ReaderConfig(shuffle_pairs=6, threads=3, prefetch_batches=2),
)
SHARES = (2.0, 1.0)
Given = tuple[int, int, str, tuple[Made, ...], dict[str, int]]


def some_parts(**of_video: object) -> list[FakePart]:
    def skips(group: int, index: int, epoch: int) -> bool:
        return (group * 7 + index * 3 + epoch) % 5 == 0

    def seconds(group: int, index: int) -> float:
        return 0.0005 * ((group * 5 + index * 3) % 4)

    video = FakePart("video", [4, 1, 0, 6, 5, 3] * 3, **{"skips": skips, "seconds": seconds, **of_video})
    return [video, FakePart("posed", [5, 9])]


def reader_of(
    parts: Sequence[FakePart], config: TrainingConfig = CONFIG, *, rank: int = 0, world_size: int = 1
) -> MicroBatches[Made, tuple[Made, ...]]:
    return MicroBatches(parts, SHARES[: len(parts)], config, collate=tuple, rank=rank, world_size=world_size)


def with_threads(threads: int) -> TrainingConfig:
    return replace(CONFIG, reader=replace(CONFIG.reader, threads=threads))


def what(given_batch: MicroBatch[tuple[Made, ...]]) -> Given:
    assert given_batch.names == tuple(made.name for made in given_batch.batch)
    return given_batch.step, given_batch.lane, given_batch.part, given_batch.batch, dict(given_batch.skipped)


def one_after_another(parts: Sequence[FakePart], config: TrainingConfig = CONFIG) -> Iterator[Given]:
    """What a reader should give, without a thread and with nothing ahead."""
    mixture = Mixture(SHARES[: len(parts)], seed=3)
    orders = [Order(part.group_sizes, part=part.name, seed=3, num_lanes=config.num_lanes, window=6) for part in parts]
    taken: Counter[tuple[int, int]] = Counter()
    for step in range(10**6):
        for lane in range(config.num_lanes):
            place = mixture.part(step, lane)
            made: list[Made] = []
            skipped: Counter[str] = Counter()
            while len(made) < config.loop.batch_size:
                (ticket,) = orders[place].tickets(lane, taken[lane, place], 1)
                taken[lane, place] += 1
                if parts[place].skips(ticket.group, ticket.index, ticket.epoch):
                    skipped["too_few_labels"] += 1
                else:
                    made.append(Made(f"{ticket.group}/{ticket.index}", parts[place].name, ticket.epoch))
            yield step, lane, parts[place].name, tuple(made), dict(skipped)


EXPECTED = list(islice(one_after_another(some_parts()), 200))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(threads: int) -> None:
    with reader_of(some_parts(), with_threads(threads)) as reader:
        given_batches = list(islice(reader, 100))
    assert [what(item) for item in given_batches] == EXPECTED[:100]
    skipped = sum(item[4].get("too_few_labels", 0) for item in EXPECTED[:100])
    assert skipped
    assert reader.skipped == Counter({("video", "too_few_labels"): skipped})
    assert {item[2] for item in EXPECTED[:100]} == {"video", "posed"}


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_give_what_one_gives(world_size: int) -> None:
    found: list[Given] = []
    for rank in range(world_size):
        with reader_of(some_parts(), rank=rank, world_size=world_size) as reader:
            found += [what(item) for item in islice(reader, 60 // world_size)]
    assert sorted(found, key=lambda item: item[:2]) == EXPECTED[:60]


@given(stop=st.integers(0, 30), threads=st.integers(1, 4), again=st.integers(0, 10))
@settings(max_examples=8)
def test_a_restored_reader_goes_on_as_if_nothing_had_been(stop: int, threads: int, again: int) -> None:
    with reader_of(some_parts(), with_threads(threads)) as reader:
        for _ in range(stop):
            last = next(reader)
        state = json.loads(json.dumps(reader.state()))
        assert stop == 0 or last.state == state
    with reader_of(some_parts(), with_threads(5 - threads)) as reader:
        reader.restore(state)
        assert reader.state() == state
        found = [what(item) for item in islice(reader, again)]
        state = reader.state()
    with reader_of(some_parts()) as reader:
        reader.restore(state)
        found += [what(item) for item in islice(reader, 5)]
    assert found == EXPECTED[stop : stop + again + 5]


def test_another_number_of_ranks_goes_on_from_where_the_others_stood() -> None:
    states = []
    for rank in range(2):
        with reader_of(some_parts(), rank=rank, world_size=2) as reader:
            # In mid-step, and not all at one place: rank 0 gave lanes 0 and 2 of four steps, rank 1 one more.
            assert len(list(islice(reader, 8 + rank))) == 8 + rank
            states.append(reader.state())
    merged = json.loads(json.dumps(merge_states(states)))
    found: list[Given] = []
    for rank in range(4):
        with reader_of(some_parts(), rank=rank, world_size=4) as reader:
            reader.restore(merged)
            found += [what(item) for item in islice(reader, 3 if rank == 1 else 4)]
    is_left = [item for item in EXPECTED[16:32] if item[:2] != (4, 1)]
    assert sorted(found, key=lambda item: item[:2]) == is_left


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["orders"].update(video="0" * 16), "other pairs of video"),
        (lambda state: state["lanes"].pop("2"), "no lane 2"),
        (lambda state: state.pop("lanes"), "does not say where its reader stood"),
        (lambda state: state["lanes"]["0"].update(step="x"), "does not say where its reader stood"),
    ],
)
def test_a_state_of_something_else_is_refused(change, message: str) -> None:
    reader = reader_of(some_parts())
    state = reader.state()
    change(state)
    with pytest.raises(InvalidInput, match=message):
        reader.restore(state)


def test_a_world_that_does_not_divide_the_lanes_is_told_which_do() -> None:
    with pytest.raises(ConfigError, match=r"world size 3 does not divide the 4 micro-batches.*: 1, 2, 4$"):
        reader_of(some_parts(), rank=0, world_size=3)


def test_a_part_that_is_never_drawn_may_be_empty_and_another_may_not() -> None:
    parts = [FakePart("video", [3]), FakePart("posed", [])]
    with MicroBatches(parts, [1, 0], CONFIG, collate=tuple) as reader:
        assert {item.part for item in islice(reader, 20)} == {"video"}
    with pytest.raises(InvalidInput, match="part posed: there is no pair"):
        MicroBatches(parts, [1, 1], CONFIG, collate=tuple)


def test_where_all_pairs_are_skipped_it_ends_with_one_line() -> None:
    part = FakePart("video", [3, 4], skips=lambda *_: True)
    before = threading.active_count()
    with reader_of([part]) as reader, pytest.raises(InvalidInput) as caught:
        next(reader)
    assert str(caught.value).startswith("part video: 7 pairs in a row gave no sample (too_few_labels 7); ")
    assert part.num_made < 200
    assert threading.active_count() == before


def test_an_error_comes_once_where_its_pair_would_and_ends_the_reader() -> None:
    expected = EXPECTED[:20]
    broken = expected[13][3][1]
    assert expected[13][2] == "posed"
    group, index = map(int, broken.name.split("/"))
    parts = some_parts()
    parts[1].bad_pairs[group, index] = CorruptObject(f"shard {group} is cut off")
    first = next(place for place, item in enumerate(EXPECTED) if item[2] == "posed" and broken.name in str(item[3]))
    for threads in (1, 5):
        before = threading.active_count()
        with reader_of(parts, with_threads(threads)) as reader:
            assert [what(next(reader)) for _ in range(first)] == EXPECTED[:first]
            with pytest.raises(CorruptObject, match="is cut off"):
                next(reader)
            assert threading.active_count() == before
            assert list(reader) == []


def test_a_group_that_cannot_be_opened_and_a_batch_that_cannot_be_made_are_errors_too() -> None:
    parts = some_parts()
    parts[0].errors = dict.fromkeys(range(18), CorruptObject("videos/x.tar has changed"))
    with reader_of(parts) as reader, pytest.raises(CorruptObject, match="has changed"):
        list(islice(reader, 50))

    def collate(samples: Sequence[Made]) -> None:
        raise ValueError("no batch")

    with MicroBatches(some_parts(), SHARES, CONFIG, collate=collate) as reader, pytest.raises(ValueError, match="no b"):
        next(reader)


def test_what_nobody_foresaw_ends_the_reader_and_does_not_hang_it() -> None:
    class Nameless:
        """No sample."""

    class Wrong(FakePart):
        """Gives what is none."""

        @contextmanager
        def open(self, group: int) -> Iterator[Any]:
            yield SimpleNamespace(sample=lambda index, draw: Nameless())

    before = threading.active_count()
    with reader_of([Wrong("video", [4])]) as reader, pytest.raises(AttributeError, match="name"):
        next(reader)
    assert threading.active_count() == before


def test_closing_ends_all_threads_and_closes_all_groups() -> None:
    before = threading.active_count()
    parts = some_parts(seconds=lambda *_: 0.02)
    with reader_of(parts) as reader:
        next(reader)
        assert threading.active_count() > before
        assert parts[0].num_open
        began = time.perf_counter()
    assert time.perf_counter() - began < 2
    assert threading.active_count() == before
    assert [part.num_open for part in parts] == [0, 0]
    assert list(reader) == []
    reader.close()


def test_a_reader_that_was_never_read_has_no_threads() -> None:
    before = threading.active_count()
    reader_of(some_parts())
    assert threading.active_count() == before


def test_no_more_is_made_ahead_than_asked_for() -> None:
    part = FakePart("video", [50] * 20)
    with reader_of([part]) as reader:
        for number in range(1, 40):
            next(reader)
            # prefetch_batches, and what three threads are at: 2 + 2 micro-batches of two pairs.
            assert part.num_made <= 2 * (number + 4)


def test_groups_are_opened_once_an_epoch_and_few_at_a_time() -> None:
    config = replace(
        CONFIG, loop=replace(CONFIG.loop, canonical_batch=2), reader=replace(CONFIG.reader, shuffle_pairs=40)
    )
    part = FakePart("video", [20] * 30)
    with reader_of([part], config) as reader:
        for _ in range(300):  # an epoch
            next(reader)
    assert set(part.opened) == set(range(30))
    assert part.opened.total() <= 30 + 8  # of the next epoch: 64 pairs ahead
    assert part.most_open <= 12


def test_a_rank_fetches_no_group_that_it_does_not_own() -> None:
    part = FakePart("video", [10] * 64)
    config = replace(CONFIG, loop=replace(CONFIG.loop, batch_size=1, canonical_batch=4))
    opened = []
    for rank in range(4):
        part.opened = Counter()
        with reader_of([part], config, rank=rank, world_size=4) as reader:
            for _ in range(90):  # the rest of the 160 is foreseen
                next(reader)
        opened.append(set(part.opened))
    assert all(len(mine) <= 16 for mine in opened)
    assert len(set.union(*opened)) == sum(map(len, opened))


def test_waiting_is_measured() -> None:
    ticks = iter(range(1000))
    parts = some_parts()
    with MicroBatches(parts, SHARES, CONFIG, collate=tuple, clock=lambda: float(next(ticks))) as reader:
        assert next(reader).wait_seconds == 1.0


class Batch(list[Made]):
    """One that can be watched."""


def test_given_batches_are_not_kept() -> None:
    kept: list[weakref.ref[Batch]] = []

    def collate(samples: Sequence[Made]) -> Batch:
        batch = Batch(samples)
        kept.append(weakref.ref(batch))
        return batch

    with MicroBatches([FakePart("video", [50] * 20)], [1], CONFIG, collate=collate) as reader:
        for _ in range(50):
            next(reader)
        gc.collect()
        assert len(kept) >= 50
        assert sum(ref() is not None for ref in kept) <= 4 + 3  # planned, or still in the hands of a thread


def test_random_delays_change_nothing() -> None:
    rng = random.Random(0)
    with reader_of(some_parts(seconds=lambda *_: rng.random() / 500), with_threads(6)) as reader:
        assert [what(item) for item in islice(reader, 80)] == EXPECTED[:80]
