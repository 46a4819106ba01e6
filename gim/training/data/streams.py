"""One lane's pairs of one part: tickets go out to be made into samples, and come back in any order.

Not responsible for threads, nor for what is done with the samples; everything here is called under the reader's guard.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gim.errors import InvalidInput
from gim.training.data.order import Order, Ticket

Item = TypeVar("Item")

_AHEAD = 64  # pairs whose groups are fetched before they are asked for: more than a shard has
_MOST_SKIPPED = 4096  # pairs in a row without a sample, where an epoch is longer


@dataclass(frozen=True, slots=True)
class Skipped:
    """What came of a pair that gives no sample."""

    reason: str


@dataclass
class Planned(Generic[Item]):
    """A micro-batch that is going to be given."""

    ordinal: int  # in the order of giving
    step: int
    lane: int
    part: int
    samples: list[Item] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    position: int = 0  # of its stream after it
    names: tuple[str, ...] = ()
    batch: Any = None
    error: Exception | None = None
    is_ready: bool = False


class Stream(Generic[Item]):
    """Tickets of a lane and a part, and what came of them."""

    def __init__(self, part: str, order: Order, lane: int, *, batch_size: int, position: int) -> None:
        """Begin with the ticket at `position`."""
        self._part, self._order, self._lane, self._batch_size = part, order, lane, batch_size
        self._planned: deque[Planned[Item]] = deque()
        self._outcomes: dict[int, Item | Skipped | Exception] = {}
        self._taken = self._sent = position
        self._ahead: deque[Ticket] = deque()
        self._in_play = 0  # tickets that were sent and may yet give a sample to a planned micro-batch
        self._skipped_in_row: Counter[str] = Counter()
        self._has_failed = False

    def plan(self, planned: Planned[Item]) -> None:
        """Take on another micro-batch."""
        self._planned.append(planned)

    def tickets_to_send(self, foresee: Callable[[Ticket, int], None]) -> list[tuple[int, int, Ticket]]:
        """What has to be made now, so that all planned micro-batches fill.

        Args:
            foresee: told of every ticket once before it is sent, with its distance.

        Returns:
            (ordinal of the micro-batch it is for, number, ticket) of each.
        """
        wanted = sum(self._batch_size - len(item.samples) for item in self._planned) - self._in_play
        if wanted <= 0 or self._has_failed:
            return []
        lacking = wanted + _AHEAD - len(self._ahead)
        start = self._sent + len(self._ahead)
        for distance, ticket in enumerate(self._order.tickets(self._lane, start, lacking), len(self._ahead)):
            foresee(ticket, distance)
            self._ahead.append(ticket)
        sent = []
        for _ in range(wanted):
            # In-play tickets fill the micro-batches from the front.
            sent.append((self._ordinal_of(self._in_play), self._sent, self._ahead.popleft()))
            self._in_play += 1
            self._sent += 1
        return sent

    def put(self, number: int, outcome: "Item | Skipped | Exception") -> list[Planned[Item]]:
        """Note what came of a ticket; returns the micro-batches that are complete by it."""
        self._outcomes[number] = outcome
        if isinstance(outcome, Skipped):
            self._in_play -= 1
        complete = []
        while self._planned and self._taken in self._outcomes and not self._has_failed:
            first = self._planned[0]
            self._take(first)
            if first.error or len(first.samples) == self._batch_size:
                first.position = self._taken
                complete.append(self._planned.popleft())
        return complete

    def _take(self, planned: Planned[Item]) -> None:
        """Give the next outcome in the tickets' order to the first micro-batch."""
        outcome = self._outcomes.pop(self._taken)
        self._taken += 1
        if isinstance(outcome, Skipped):
            planned.skipped[outcome.reason] += 1
            self._skipped_in_row[outcome.reason] += 1
            if self._skipped_in_row.total() >= min(self._order.num_pairs, _MOST_SKIPPED):
                planned.error = InvalidInput(self._why_nothing())
        elif isinstance(outcome, Exception):
            planned.error = outcome
        else:
            self._in_play -= 1
            planned.samples.append(outcome)
            self._skipped_in_row.clear()
        self._has_failed = planned.error is not None

    def _ordinal_of(self, place: int) -> int:
        """The micro-batch that the sample at a place among those in play is for."""
        for item in self._planned:
            place -= self._batch_size - len(item.samples)
            if place < 0:
                return item.ordinal
        return self._planned[-1].ordinal

    def _why_nothing(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self._skipped_in_row.most_common())
        total = self._skipped_in_row.total()
        return (
            f"part {self._part}: {total} pairs in a row gave no sample ({reasons}); look at the dataset's labels, or "
            "lower sample.min_labels"
        )
