import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from gim.rpc.batching import Batcher

FOREVER = float("inf")


class Squares:
    """Squares numbers, batch by batch, each when it is let go."""

    def __init__(self, *, is_open=True):
        self.batches = []
        self.started = threading.Event()
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def __call__(self, items):
        self.batches.append(list(items))
        self.started.set()
        assert self.gate.wait(60)
        if any(item < 0 for item in items):
            raise ValueError(f"negative: {items}")
        return [item**2 for item in items]


@contextmanager
def batching(compute, **options):
    with ThreadPoolExecutor(options.get("workers", 1)) as executor:
        yield Batcher(compute, executor, **{"workers": 1, "max_batch": 4, "wait_seconds": 0.02} | options)


def test_items_that_come_together_are_computed_together_up_to_the_limit():
    squares = Squares()

    async def run():
        with batching(squares) as batcher:
            return await asyncio.gather(*(batcher.compute(number, "one size", FOREVER) for number in range(6)))

    found = asyncio.run(run())
    assert [item.result for item in found] == [0, 1, 4, 9, 16, 25]
    assert squares.batches == [[0, 1, 2, 3], [4, 5]]
    assert [item.batch_size for item in found] == [4, 4, 4, 4, 2, 2]


def test_items_of_different_groups_are_computed_apart():
    squares = Squares()

    async def run():
        with batching(squares) as batcher:
            await asyncio.gather(*(batcher.compute(number, number % 2, FOREVER) for number in range(6)))

    asyncio.run(run())
    assert sorted(squares.batches) == [[0, 2, 4], [1, 3, 5]]


def test_a_batch_goes_on_filling_while_the_worker_is_busy():
    squares = Squares(is_open=False)

    async def run():
        with batching(squares, wait_seconds=0.0) as batcher:
            first = asyncio.create_task(batcher.compute(9, "g", FOREVER))
            await asyncio.to_thread(squares.started.wait, 60)
            others = [asyncio.create_task(batcher.compute(number, "g", FOREVER)) for number in range(3)]
            await asyncio.sleep(0.05)
            squares.gate.set()
            await asyncio.gather(first, *others)

    asyncio.run(run())
    assert squares.batches == [[9], [0, 1, 2]]


def test_what_expired_or_was_cancelled_while_it_waited_is_never_computed():
    squares = Squares(is_open=False)

    async def run():
        loop = asyncio.get_running_loop()
        with batching(squares, wait_seconds=0.0) as batcher:
            first = asyncio.create_task(batcher.compute(9, "g", FOREVER))
            await asyncio.to_thread(squares.started.wait, 60)
            expired = asyncio.create_task(batcher.compute(1, "g", loop.time() + 0.01))
            cancelled = asyncio.create_task(batcher.compute(2, "g", FOREVER))
            alive = asyncio.create_task(batcher.compute(3, "g", FOREVER))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            squares.gate.set()
            with pytest.raises(TimeoutError):
                await expired
            return (await first).result, (await alive).result

    assert asyncio.run(run()) == (81, 9)
    assert squares.batches == [[9], [3]]


def test_an_item_that_fails_takes_nobody_along():
    squares = Squares()

    async def run():
        with batching(squares) as batcher:
            items = (batcher.compute(number, "g", FOREVER) for number in (2, -1, 3))
            return await asyncio.gather(*items, return_exceptions=True)

    good, bad, other = asyncio.run(run())
    assert (good.result, other.result) == (4, 9)
    assert isinstance(bad, ValueError)


def test_the_group_that_has_waited_longest_comes_first_though_another_is_full():
    squares = Squares(is_open=False)

    async def run():
        with batching(squares, wait_seconds=0.0, max_batch=2) as batcher:
            first = asyncio.create_task(batcher.compute(9, "a", FOREVER))
            await asyncio.to_thread(squares.started.wait, 60)
            waiting = [asyncio.create_task(batcher.compute(1, "b", FOREVER))]
            await asyncio.sleep(0.01)
            waiting += [asyncio.create_task(batcher.compute(number, "a", FOREVER)) for number in (2, 3)]
            await asyncio.sleep(0.01)
            squares.gate.set()
            await asyncio.gather(first, *waiting)

    asyncio.run(run())
    assert squares.batches == [[9], [1], [2, 3]]


def test_workers_compute_side_by_side():
    both = threading.Barrier(2, timeout=60)

    def compute(items):
        both.wait()
        return items

    async def run():
        with batching(compute, workers=2, max_batch=1) as batcher:
            await asyncio.gather(batcher.compute(1, "g", FOREVER), batcher.compute(2, "g", FOREVER))

    asyncio.run(run())
