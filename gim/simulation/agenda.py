"""What will happen and when: the heap of a discrete-event simulation."""

import heapq
import math
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Agenda:
    """Actions by their time; those of one time in the order they were planned in."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._order = count()

    def at(self, time: float, action: Action) -> None:
        """Plan an action; one whose time has passed is due at once. Seconds since the simulation began."""
        heapq.heappush(self._heap, (max(time, self.now), next(self._order), action))

    def every(self, seconds: float, action: Action) -> None:
        """Plan an action now and again and again."""

        def act() -> None:
            action()
            self.at(self.now + seconds, act)

        self.at(self.now, act)

    @property
    def next_time(self) -> float:
        """When something is due next; infinite when nothing is."""
        return self._heap[0][0] if self._heap else math.inf

    def run_due(self, now: float) -> None:
        """Let time pass to `now`, which nothing planned lies before, and do what is due."""
        self.now = now
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
