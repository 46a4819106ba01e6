"""Bounds on what is in hand at a time: how many, and how much they weigh together."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gim.errors import Unavailable


class Busy(Unavailable):
    """There is no room for another one now."""


class Room:
    """Lets in so many, of so much weight together, in the order in which they come. Of one event loop.

    One that weighs more than all are allowed to is let in alone: it is bounded elsewhere, and would wait for ever.
    """

    def __init__(self, max_items: float, max_weight: float) -> None:
        self._max_items = max_items
        self._max_weight = max_weight
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self.num_items = 0
        self.weight = 0

    @asynccontextmanager
    async def held(self, weight: int, *, may_wait: bool) -> AsyncIterator[None]:
        """Be inside for the length of the block.

        Raises:
            Busy: it is full, and waiting was not wished for.
        """
        if not self._waiting and self._fits(weight):
            self._enter(weight)
        elif may_wait:
            await self._wait(weight)
        else:
            raise Busy(f"the server is busy with {self.num_items} requests: ask again later, or another one")
        try:
            yield
        finally:
            self._leave(weight)

    async def _wait(self, weight: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, weight))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in at the moment of giving up
                self._leave(weight)
            else:
                self._waiting.remove((turn, weight))
                self._call_next()  # what stands behind may be lighter
            raise

    def _fits(self, weight: int) -> bool:
        return self.num_items == 0 or (self.num_items < self._max_items and self.weight + weight <= self._max_weight)

    def _enter(self, weight: int) -> None:
        self.num_items += 1
        self.weight += weight

    def _leave(self, weight: int) -> None:
        self.num_items -= 1
        self.weight -= weight
        self._call_next()

    def _call_next(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            turn, weight = self._waiting.popleft()
            if not turn.done():
                self._enter(weight)
                turn.set_result(None)
