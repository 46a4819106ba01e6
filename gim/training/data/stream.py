"""The stream of micro-batches that training reads: fetched, decoded and collated ahead by threads, in a fixed order.

Micro-batch (step, lane) is the same for any number of threads and ranks. Every lane goes through its own tickets of
every part (`gim.training.data.order`), so where a reader stands is a number for each lane and part, and nothing else.
Threads and no processes: what decodes and warps images lets other threads run, and no open handle is forked. Whoever
reads holds OpenCV to one thread a call (`gim.runtime.threads.one_thread_each`).
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from gim.errors import ConfigError
from gim.training.config import TrainingConfig
from gim.training.data.groups import OpenGroups
from gim.training.data.mixing import Mixture
from gim.training.data.order import Order, Ticket
from gim.training.data.parts import Draw, Group, Part
from gim.training.data.position import Position
from gim.training.data.streams import Planned, Skipped, Stream
from gim.training.data.workers import Workers
from gim.training.samples import SampleSkipped


class Named(Protocol):
    """A sample of any kind."""

    @property
    def name(self) -> str:
        """Unique within its part."""


Item = TypeVar("Item", bound=Named)
Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)

UNPOSED = ("video", "homography")  # parts that `mix.resample` does not speak of


@dataclass(frozen=True, slots=True)
class MicroBatch(Generic[Batch_co]):
    """What one lane gives in one step."""

    step: int  # steps before it
    lane: int
    part: str
    names: tuple[str, ...]
    batch: Batch_co
    skipped: Mapping[str, int]  # pairs that gave no sample on the way to it, by reason
    wait_seconds: float  # that the training waited for it
    state: Mapping[str, Any]  # of the reader after it, see `MicroBatches.state`


class MicroBatches(Generic[Item, Batch]):
    """Iterates over the micro-batches of a rank's lanes, by step and lane, without end; use as a context manager."""

    def __init__(
        self,
        parts: Sequence[Part[Item]],
        shares: Sequence[float],
        config: TrainingConfig,
        *,
        collate: Callable[[Sequence[Item]], Batch],
        rank: int = 0,
        world_size: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Lay the order down; nothing is read before the first micro-batch is asked for.

        Args:
            parts: of the mixture.
            shares: how often each is drawn, relative to the others.
            config: of the run: `reader`, `loop.batch_size`, `loop.seed`, `mix.resample` and the lanes.
            collate: makes a batch of samples of one part; called by the reader's threads.
            rank: of this process.
            world_size: processes that share the lanes.
            clock: seconds, for the time that is waited.

        Raises:
            ConfigError: the lanes cannot be shared among so many, or a share is wrong.
            InvalidInput: a part has no pair.
        """
        self._lanes = lanes_of_rank(config.num_lanes, rank, world_size)
        used = [place for place, share in enumerate(shares) if share > 0]
        self._parts = [parts[place] for place in used]
        seed, threads = config.loop.seed, config.reader.threads or max(len(os.sched_getaffinity(0)) - 1, 1)
        self._mixture = Mixture([shares[place] for place in used], seed=seed)
        self._orders = [_order_of(part, config) for part in self._parts]
        self._seed, self._batch_size, self._collate, self._clock = seed, config.loop.batch_size, collate, clock
        # Those that are ready, and those that the threads are at.
        self._num_planned = config.reader.prefetch_batches + -(-threads // self._batch_size)
        self._position = Position({part.name: order.name for part, order in self._ordered()}, self._lanes)
        self.skipped: Counter[tuple[str, str]] = Counter()  # pairs without a sample by part and reason, all given

        self._guard = threading.Condition()
        self._makers = Workers(threads, "reader-make", self._fail)
        max_idle = 4 * config.num_lanes  # where pairs are dealt out, all groups: none is fetched twice
        self._groups = OpenGroups(self._parts, self._makers, max_idle=max_idle, on_error=self._fail)
        self._failure: Exception | None = None  # of no micro-batch: a thread has met what nobody foresaw
        self._streams: dict[tuple[int, int], Stream[Item]] = {}
        self._planned: deque[Planned[Item]] = deque()
        self._ahead: dict[int, int] = {}  # of each lane: the step that is planned next
        self._num_given = 0
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[MicroBatch[Batch]]:
        return self

    def __next__(self) -> MicroBatch[Batch]:
        """The next micro-batch.

        Raises:
            CorruptObject, KeyMissing, Unavailable: of a group or a pair; the reader is closed.
            InvalidInput: a whole epoch of a part gave no sample; the reader is closed.
        """
        began = self._clock()
        with self._guard:
            if self._is_closed:
                raise StopIteration
            self._plan()
            first = self._planned[0]
            while not first.is_ready and not self._failure:
                self._guard.wait()
            self._planned.popleft()
            self._num_given += 1
            self._plan()
        if error := self._failure or first.error:
            self.close()
            raise error
        part = self._parts[first.part].name
        for reason, count in first.skipped.items():
            self.skipped[part, reason] += count
        self._position = self._position.after(first.step, first.lane, part, first.position)
        return MicroBatch(
            step=first.step,
            lane=first.lane,
            part=part,
            names=first.names,
            batch=first.batch,
            skipped=dict(first.skipped),
            wait_seconds=self._clock() - began,
            state=self._position.to_json(),
        )

    def state(self) -> dict[str, Any]:
        """Where the reader stands after the micro-batches that were given, as JSON has it; see `merge_states`."""
        return self._position.to_json()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a reader of the same data stood, before the first micro-batch.

        Args:
            state: of all lanes of this rank at least.

        Raises:
            InvalidInput: it is of other data, of other lanes, or is none.
        """
        if self._planned or self._num_given:
            raise RuntimeError("a reader is restored before its first micro-batch")
        self._position = self._position.restored(state)

    def close(self) -> None:
        """End all threads and let go of what was fetched."""
        with self._guard:
            self._is_closed = True
        self._makers.close()
        self._groups.close()

    def _ordered(self) -> Iterator[tuple[Part[Item], Order]]:
        return zip(self._parts, self._orders, strict=True)

    def _plan(self) -> None:
        """Ask for what comes after what is planned."""
        while len(self._planned) < self._num_planned:
            step, lane = min((self._ahead.get(lane, self._position.lanes[lane].step), lane) for lane in self._lanes)
            self._ahead[lane] = step + 1
            ordinal = self._num_given + len(self._planned)
            planned: Planned[Item] = Planned(ordinal, step, lane, self._mixture.part(step, lane))
            self._planned.append(planned)
            stream = self._stream(lane, planned.part)
            stream.plan(planned)
            self._send(stream, planned.part)

    def _stream(self, lane: int, part: int) -> Stream[Item]:
        if (lane, part) not in self._streams:
            name, order = self._parts[part].name, self._orders[part]
            start = self._position.lanes[lane].positions.get(name, 0)
            self._streams[lane, part] = Stream(name, order, lane, batch_size=self._batch_size, position=start)
        return self._streams[lane, part]

    def _send(self, stream: Stream[Item], part: int) -> None:
        """Have the pairs made that a stream lacks."""

        def foresee(ticket: Ticket, distance: int) -> None:
            self._groups.hold((part, ticket.group), distance)

        for ordinal, number, ticket in stream.tickets_to_send(foresee):
            make = partial(self._make, stream, part, number, ticket)
            self._groups.use((part, ticket.group), (ordinal, number), make)

    def _make(
        self, stream: Stream[Item], part: int, number: int, ticket: Ticket, group: Group[Item] | Exception
    ) -> None:
        """In a thread: one pair into a sample, and a micro-batch that is complete by it into a batch."""
        outcome = self._outcome(group, ticket)
        self._groups.release((part, ticket.group))
        with self._guard:
            for planned in stream.put(number, outcome):
                if planned.error:
                    self._is_done(planned)
                else:
                    self._makers.push((planned.ordinal,), partial(self._finish, planned))
            if isinstance(outcome, Skipped):
                self._send(stream, part)

    def _outcome(self, group: Group[Item] | Exception, ticket: Ticket) -> Item | Skipped | Exception:
        if isinstance(group, Exception):
            return group
        try:
            return group.sample(ticket.index, Draw(self._seed, ticket.epoch))
        except SampleSkipped as skipped:
            return Skipped(skipped.reason)  # without its traceback, which holds the images
        except Exception as error:
            return error

    def _finish(self, planned: Planned[Item]) -> None:
        """In a thread: samples into a batch."""
        planned.names = tuple(sample.name for sample in planned.samples)
        try:
            planned.batch = self._collate(planned.samples)
        except Exception as error:
            planned.error = error
        planned.samples = []
        with self._guard:
            self._is_done(planned)

    def _fail(self, error: Exception) -> None:
        with self._guard:
            self._failure = error
            self._guard.notify_all()

    def _is_done(self, planned: Planned[Item]) -> None:
        planned.is_ready = True
        self._guard.notify_all()


def lanes_of_rank(num_lanes: int, rank: int, world_size: int) -> list[int]:
    """The lanes that a rank owns, ascending.

    Raises:
        ConfigError: the lanes cannot be shared among so many; the message names the numbers that can.
    """
    if num_lanes % world_size:
        fitting = [str(size) for size in range(1, num_lanes + 1) if num_lanes % size == 0]
        raise ConfigError(
            f"world size {world_size} does not divide the {num_lanes} micro-batches of a step "
            f"(loop.canonical_batch / loop.batch_size); these do: {', '.join(fitting)}"
        )
    return list(range(rank, num_lanes, world_size))


def _order_of(part: Part[Any], config: TrainingConfig) -> Order:
    return Order(
        part.group_sizes,
        part=part.name,
        seed=config.loop.seed,
        num_lanes=config.num_lanes,
        window=config.reader.shuffle_pairs,
        resample=config.mix.resample and part.name not in UNPOSED,
    )
