"""The order in which pairs are given: a function of the sizes of groups and the seed, with no content read.

An epoch gives every pair once, over all lanes together. With at least four groups to a lane, the groups in the
epoch's order are laid out in a line of pairs, which is cut into equal stretches, one for each lane: a lane has groups
of its own but for the two that a cut goes through, and draws among windows of `window` pairs, so that few groups are
open at a time. With fewer groups, all pairs of an epoch are shuffled and dealt out one by one.

Lanes are not waited for: a lane that gave its stretch goes on with its stretch of the next epoch. Stretches differ by
one pair at most.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gim.errors import InvalidInput
from gim.records import Int64Array
from gim.training.data.hashing import Permutation, key_of

_LEAST_GROUPS_PER_LANE = 4  # below, stretches of an epoch would be of one film each


@dataclass(frozen=True, slots=True)
class Ticket:
    """One pair in its turn."""

    epoch: int  # how often it was given before
    group: int
    index: int  # in its group


class Order:
    """The tickets of all lanes; any is found at once, so a run goes on from a number."""

    def __init__(
        self, group_sizes: Sequence[int], *, part: str, seed: int, num_lanes: int, window: int, resample: bool = False
    ) -> None:
        """Lay the order down.

        Args:
            group_sizes: pairs of each group.
            part: whose groups they are; another part goes through its own in another order.
            seed: another one gives another order.
            num_lanes: that share the pairs.
            window: pairs of a lane among which the next is drawn, where groups are dealt out.
            resample: an epoch has as many pairs of each group, together as many as there are: large groups give
                others in the next epoch, small ones are repeated.

        Raises:
            InvalidInput: no group has a pair.
        """
        self._sizes = np.asarray(group_sizes, np.int64)
        self._groups = np.flatnonzero(self._sizes)
        if not len(self._groups):
            raise InvalidInput(f"part {part}: there is no pair to train on")
        total = int(self._sizes.sum())
        self._share = max(round(total / len(self._groups)), 1) if resample else 0
        self.num_pairs = self._share * len(self._groups) if resample else total
        self.deals_groups = len(self._groups) >= _LEAST_GROUPS_PER_LANE * num_lanes
        self._num_lanes, self._window = num_lanes, max(window, 1)
        self._key = key_of(part, seed)
        sizes_sha256 = hashlib.sha256(self._sizes.astype("<i8").tobytes()).hexdigest()
        described = key_of(self._key, num_lanes, self._window, self._share, sizes_sha256)
        self.name = f"{described:016x}"  # another order has another one
        self._line = lru_cache(maxsize=4)(self._line_of)  # lanes are near each other, not in step

    def tickets(self, lane: int, start: int, count: int) -> list[Ticket]:
        """The tickets `start` to `start + count` of a lane's endless sequence."""
        found: list[Ticket] = []
        while len(found) < count:
            place = self._stretch(lane, start + len(found), count - len(found))
            found += self._at(*place)
        return found

    def _stretch(self, lane: int, start: int, count: int) -> tuple[int, Int64Array]:
        """An epoch and places in its line: those of as many of the tickets as lie in one window."""
        if not self.deals_groups:
            # Ticket n of lane l is pair n * lanes + l of the shuffled epochs one after another.
            epoch, place = divmod(start * self._num_lanes + lane, self.num_pairs)
            places = np.arange(place, self.num_pairs, self._num_lanes)[:count]
            return epoch, Permutation(self.num_pairs, key_of(self._key, "pairs", epoch))(places)
        first, end = (cut * self.num_pairs // self._num_lanes for cut in (lane, lane + 1))
        epoch, passed = divmod(start, end - first)
        number, place = divmod(passed, self._window)
        begin = first + number * self._window
        width = min(self._window, end - begin)
        shuffled = Permutation(width, key_of(self._key, "window", epoch, lane, number))
        return epoch, begin + shuffled(np.arange(place, min(place + count, width)))

    def _at(self, epoch: int, places: Int64Array) -> list[Ticket]:
        """The pairs at places of an epoch's line."""
        groups, starts = self._line(epoch)
        ordinals = np.searchsorted(starts, places, side="right") - 1
        tickets = []
        for group, index in zip(groups[ordinals], places - starts[ordinals], strict=True):
            tickets.append(self._drawn(epoch, int(group), int(index)))
        return tickets

    def _line_of(self, epoch: int) -> tuple[Int64Array, Int64Array]:
        """The groups in an epoch's order, and where each begins in its line."""
        order = Permutation(len(self._groups), key_of(self._key, "groups", epoch))
        groups = self._groups[order(np.arange(len(self._groups)))]
        sizes = np.full(len(groups), self._share) if self._share else self._sizes[groups]
        return groups, np.cumsum(sizes) - sizes

    def _drawn(self, epoch: int, group: int, index: int) -> Ticket:
        if not self._share:
            return Ticket(epoch, group, index)
        # A group's own shuffled epochs one after another, of which every epoch of all takes the next few.
        size = int(self._sizes[group])
        epoch, place = divmod(epoch * self._share + index, size)
        (index,) = Permutation(size, key_of(self._key, "resample", group, epoch))([place])
        return Ticket(epoch, group, int(index))
