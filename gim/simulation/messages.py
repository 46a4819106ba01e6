"""Messages of a topic, many at a time: columns of equal length instead of one object each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# What messages take of the servers that all share, in this order: the columns of `Messages.units`.
SHARED = ("source videos", "source bytes", "store bytes read", "store bytes written", "store requests", "bus messages")


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages, in the order in which they may be taken from their partitions."""

    arrival: Floats  # [n], seconds
    partition: Ints  # [n]
    work: Floats  # [n], seconds of a pod while no server is short
    device: Floats  # [n], of these, on the pod's GPU
    item: Ints  # [n], what it is of: a row of whoever published it
    weight: Floats  # [n], messages of the bus that it stands for
    units: Floats  # [n, len(SHARED)]

    @classmethod
    def of(cls, arrival: Floats, partition: Ints, work: Floats, item: Ints, **given: Any) -> "Messages":
        """Messages that need nothing but a pod, unless columns are given."""
        num = len(arrival)
        plain = {"device": np.zeros(num), "weight": np.ones(num), "units": np.zeros((num, len(SHARED)))}
        return cls(arrival, partition, work, item=item, **(plain | given))

    @classmethod
    @cache
    def none(cls) -> "Messages":
        """No messages."""
        return cls.of(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence["Messages"]) -> "Messages":
        """One after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls.none()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))

    def __len__(self) -> int:
        return len(self.arrival)

    def take(self, rows: NDArray[Any]) -> "Messages":
        """Some of them, by their numbers or a mask."""
        return Messages(*[getattr(self, name)[rows] for name in _COLUMNS])


_COLUMNS = tuple(field.name for field in fields(Messages))


class Queue:
    """Messages that wait: many, of which few are added and taken at a time. So their rows are moved, not their columns.

    `rows` has the rows of `kept` that wait, in the order in which they may be taken; the others are gone by and by.
    """

    def __init__(self) -> None:
        self.kept = Messages.none()
        self.rows = np.empty(0, np.int64)
        self._num_kept = 0  # rows of `kept` that are in use: the rest is room

    def append(self, messages: Messages) -> None:
        """Put messages behind all others."""
        new = self._keep(messages)
        self.rows = np.concatenate([self.rows, new])

    def put_first(self, messages: Messages) -> None:
        """Put messages before all others."""
        new = self._keep(messages)
        self.rows = np.concatenate([new, self.rows])

    def take(self, rows: Ints) -> Messages:
        """Take messages out, by their rows in `kept`."""
        stays = np.ones(len(self.kept), np.bool_)
        stays[rows] = False
        self.rows = self.rows[stays[self.rows]]
        return self.kept.take(rows)

    def _keep(self, messages: Messages) -> Ints:
        number = len(messages)
        if self._num_kept + number > len(self.kept):
            waiting = self.kept.take(self.rows)
            self.rows, self._num_kept = np.arange(len(waiting)), len(waiting)
            self.kept = Messages.joined([waiting, messages] * 2)  # as many rows again are room
        rows = np.arange(self._num_kept, self._num_kept + number)
        for name in _COLUMNS:
            getattr(self.kept, name)[rows] = getattr(messages, name)
        self._num_kept += number
        return rows
