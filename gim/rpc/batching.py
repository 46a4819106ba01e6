"""Requests that come at about the same time are computed in one call. Knows neither gRPC nor what is computed.

Items of one group (images of equal shapes) may share a batch. A batch is closed when it is full or its oldest item has
waited long enough, and computed as soon as a worker is free; while all are busy it goes on filling. An item that has
expired, or that nobody waits for any more, is dropped before it costs anything.
"""

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Computed(Generic[Result]):
    """A result, and what it took."""

    result: Result
    queued_seconds: float
    computed_seconds: float  # of the whole batch
    batch_size: int


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item, Result]):
    item: Item
    arrived: float
    expires: float
    done: "asyncio.Future[Computed[Result]]"


class Batcher(Generic[Item, Result]):
    """Collects the items of one function. Of one event loop."""

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        executor: Executor,
        *,
        workers: int,
        max_batch: int,
        wait_seconds: float,
        on_waiting: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Begin with nothing in hand.

        Args:
            compute: results of items of one group, in order; called in the executor.
            executor: with at least as many threads as workers.
            workers: calls at a time.
            max_batch: items of one call.
            wait_seconds: for how long an item is held back for others to join it.
            on_waiting: told how many items wait, whenever that changes.
        """
        self._compute = compute
        self._executor = executor
        self._idle = workers
        self._max_batch = max_batch
        self._wait_seconds = wait_seconds
        self._on_waiting = on_waiting
        self._groups: dict[Hashable, list[_Entry[Item, Result]]] = {}  # none of them empty
        self._alarm: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def compute(self, item: Item, group: Hashable, expires: float) -> Computed[Result]:
        """The result of one item.

        Args:
            item: what is computed.
            group: items of equal groups share a batch.
            expires: time of the loop after which nobody wants the result.

        Raises:
            TimeoutError: it expired before its turn came.
            Exception: what the function raises for this item.
        """
        loop = asyncio.get_running_loop()
        entry: _Entry[Item, Result] = _Entry(item, loop.time(), expires, loop.create_future())
        self._groups.setdefault(group, []).append(entry)
        self._start_due()
        self._tell_waiting()
        return await entry.done

    def _start_due(self) -> None:
        """Start every batch that is due, and come back when the next one will be."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        loop = asyncio.get_running_loop()
        while self._idle and self._groups:
            now = loop.time()
            ready = [group for group, entries in self._groups.items() if self._due(entries) <= now]
            if not ready:
                self._alarm = loop.call_at(min(map(self._due, self._groups.values())), self._start_due)
                return
            oldest = min(ready, key=lambda group: self._groups[group][0].arrived)
            if batch := self._take(oldest, now):
                self._idle -= 1
                task = loop.create_task(self._run(batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _due(self, entries: list[_Entry[Item, Result]]) -> float:
        """When a group may be computed: at once when it is full."""
        return -math.inf if len(entries) >= self._max_batch else entries[0].arrived + self._wait_seconds

    def _take(self, group: Hashable, now: float) -> list[_Entry[Item, Result]]:
        entries = self._groups.pop(group)
        batch: list[_Entry[Item, Result]] = []
        while entries and len(batch) < self._max_batch:
            entry = entries.pop(0)
            if entry.done.done():  # cancelled by who waited for it
                continue
            if entry.expires <= now:
                entry.done.set_exception(TimeoutError())
                continue
            batch.append(entry)
        if entries:
            self._groups[group] = entries
        return batch

    async def _run(self, batch: list[_Entry[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        results: Sequence[Result | Exception]
        try:
            results = await loop.run_in_executor(self._executor, self._results, [entry.item for entry in batch])
        except RuntimeError as error:  # the executor was shut down
            results = [error] * len(batch)
        seconds = loop.time() - started
        self._idle += 1
        for entry, result in zip(batch, results, strict=True):
            if entry.done.done():
                continue
            if isinstance(result, Exception):
                entry.done.set_exception(result)
            else:
                entry.done.set_result(Computed(result, started - entry.arrived, seconds, len(batch)))
        self._start_due()
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        self._on_waiting(sum(map(len, self._groups.values())))

    def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """Of each item its result or its error: one that fails does not take its neighbours along."""
        try:
            return self._compute(items)
        except Exception as error:  # raised again where the item's result is awaited
            if len(items) == 1:
                return [error]
        return [result for item in items for result in self._results([item])]
