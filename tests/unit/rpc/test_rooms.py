import asyncio
import contextlib

import pytest

from gim.errors import Unavailable
from gim.rpc.rooms import Busy, Room


def test_a_full_room_refuses_at_once_and_takes_the_next_when_one_has_left():
    async def visit():
        room = Room(max_items=2, max_weight=100)
        async with room.held(10, may_wait=False):
            async with room.held(10, may_wait=False):
                with pytest.raises(Busy, match="busy with 2 requests"):
                    async with room.held(1, may_wait=False):
                        pass
            async with room.held(90, may_wait=False):
                with pytest.raises(Unavailable):
                    async with room.held(1, may_wait=False):
                        pass
        assert (room.num_items, room.weight) == (0, 0)

    asyncio.run(visit())


def test_what_weighs_more_than_all_may_is_let_in_alone():
    async def visit():
        room = Room(max_items=9, max_weight=10)
        async with room.held(1000, may_wait=False):
            with pytest.raises(Busy):
                async with room.held(1, may_wait=False):
                    pass

    asyncio.run(visit())


def test_those_who_wait_come_in_by_turns_and_a_heavy_one_is_not_overtaken():
    order = []

    async def visit(room, name, weight, leave):
        async with room.held(weight, may_wait=True):
            order.append(name)
            await leave.wait()

    async def run():
        room, leave = Room(max_items=10, max_weight=10), asyncio.Event()
        visits = []
        for name, weight in (("first", 6), ("heavy", 8), ("light", 1)):
            visits.append(asyncio.create_task(visit(room, name, weight, leave)))
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert order == ["first"]
        leave.set()
        await asyncio.gather(*visits)
        assert order == ["first", "heavy", "light"]
        assert (room.num_items, room.weight) == (0, 0)

    asyncio.run(run())


def test_one_that_gives_up_waiting_takes_no_room_and_lets_lighter_ones_pass():
    async def run():
        room = Room(max_items=10, max_weight=10)
        inside = asyncio.Event()

        async def wait(weight):
            async with room.held(weight, may_wait=True):
                inside.set()

        async with room.held(6, may_wait=True):
            heavy, light = asyncio.create_task(wait(8)), asyncio.create_task(wait(1))
            await asyncio.sleep(0.01)
            assert not inside.is_set()
            heavy.cancel()
            await asyncio.wait_for(inside.wait(), 30)
            with contextlib.suppress(asyncio.CancelledError):
                await heavy
            await light
        assert (room.num_items, room.weight) == (0, 0)

    asyncio.run(run())


def test_one_that_is_cancelled_at_the_moment_it_is_let_in_leaves_nothing_behind():
    async def run():
        room = Room(max_items=1, max_weight=10)

        async def wait():
            async with room.held(1, may_wait=True):
                pass

        async with room.held(1, may_wait=True):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0.01)
        waiting.cancel()  # let in by the end of the block, and not yet running
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert (room.num_items, room.weight) == (0, 0)

    asyncio.run(run())
