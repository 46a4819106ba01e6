"""Groups of pairs, fetched before their turn and closed after it: what is open at a time is bounded."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gim.training.data.parts import Group, Part
from gim.training.data.workers import Priority, Workers

Item = TypeVar("Item")
Place = tuple[int, int]  # a part of the mixture, and a group of it
Use = Callable[["Group[Item] | Exception"], None]

_FETCHERS = 3  # that wait for a store, or hash
_NEEDED, _AHEAD, _CLOSING = 1, 2, 0


@dataclass
class _Slot(Generic[Item]):
    """A group from its first holder on."""

    holders: int = 0
    is_begun: bool = False
    opened: "Group[Item] | Exception | None" = None
    leaving: ExitStack = field(default_factory=ExitStack)
    waiting: list[tuple[Priority, "Use[Item]"]] = field(default_factory=list)


class OpenGroups(Generic[Item]):
    """Groups of all parts by place. A pair holds its group from when it is foreseen until it is made."""

    def __init__(
        self, parts: Sequence[Part[Item]], makers: Workers, *, max_idle: int, on_error: Callable[[Exception], None]
    ) -> None:
        """Begin with none open.

        Args:
            parts: of the mixture.
            makers: who do what waits for a group.
            max_idle: groups that stay open though nobody holds them, in case they are wanted again.
            on_error: told where a group cannot be let go of.
        """
        self._parts, self._makers, self._max_idle = parts, makers, max_idle
        self._fetchers = Workers(_FETCHERS, "reader-fetch", on_error)
        self._guard = threading.Lock()
        self._slots: dict[Place, _Slot[Item]] = {}
        self._idle: OrderedDict[Place, None] = OrderedDict()
        self._leaving: deque[ExitStack] = deque()  # of groups that are to be closed, a task of the fetchers for each

    def hold(self, place: Place, distance: int) -> None:
        """Begin to fetch a group whose turn comes in `distance` pairs, and keep it."""
        with self._guard:
            slot = self._slots.setdefault(place, _Slot())
            slot.holders += 1
            self._idle.pop(place, None)
            if slot.holders == 1 and slot.opened is None:
                self._fetchers.push((_AHEAD, distance), lambda: self._fetch(place))

    def use(self, place: Place, priority: Priority, task: "Use[Item]") -> None:
        """Have one of the makers do something with a group that is held, or with the error that came of it."""
        with self._guard:
            slot = self._slots[place]
            if slot.opened is None:
                slot.waiting.append((priority, task))
                self._fetchers.push((_NEEDED, *priority), lambda: self._fetch(place))
                return
        self._pass_on(slot, priority, task)

    def release(self, place: Place) -> None:
        """Hold a group no longer."""
        with self._guard:
            slot = self._slots[place]
            slot.holders -= 1
            if slot.holders or slot.opened is None:
                return
            self._idle[place] = None
            while len(self._idle) > self._max_idle:
                oldest, _ = self._idle.popitem(last=False)
                # The store may have to remove files: not while others wait for the guard.
                self._leaving.append(self._slots.pop(oldest).leaving)
                self._fetchers.push((_CLOSING,), lambda: self._leaving.popleft().close())

    def close(self) -> None:
        """End the threads and close all groups; the makers have ended before."""
        self._fetchers.close()  # which drops what they have not begun
        for leaving in [*self._leaving, *(slot.leaving for slot in self._slots.values())]:
            leaving.close()
        self._leaving.clear()
        self._slots.clear()
        self._idle.clear()

    def _fetch(self, place: Place) -> None:
        with self._guard:
            slot = self._slots.get(place)
            if slot is None or slot.is_begun:
                return
            slot.is_begun = True
        part, group = place
        opened: Group[Item] | Exception
        try:
            opened = slot.leaving.enter_context(self._parts[part].open(group))
        except Exception as error:
            opened = error
        with self._guard:
            slot.opened = opened
            waiting, slot.waiting = slot.waiting, []
        for priority, task in waiting:
            self._pass_on(slot, priority, task)

    def _pass_on(self, slot: _Slot[Item], priority: Priority, task: "Use[Item]") -> None:
        opened = slot.opened
        assert opened is not None
        self._makers.push(priority, lambda: task(opened))
