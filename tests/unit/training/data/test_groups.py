"""Open groups: open while a pair holds them, closed when too many are idle, whatever the fetchers do first."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gim.errors import KeyMissing
from gim.training.data.groups import OpenGroups
from gim.training.data.workers import Workers
from tests.unit.training.data.fake_parts import FakeGroup, FakePart, Made


def no_error(error: Exception) -> None:
    raise AssertionError(error)


@pytest.fixture
def makers() -> Iterator[Workers]:
    workers = Workers(2, "test", no_error)
    yield workers
    workers.close()


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_group_stays_open_while_anyone_holds_it(makers: Workers) -> None:
    part = FakePart("video", [1] * 4)
    groups: OpenGroups[Made] = OpenGroups([part], makers, max_idle=1, on_error=no_error)
    for group in (0, 0, 1, 2):
        groups.hold((0, group), 0)
    wait_for(lambda: part.num_open == 3)
    for group in (0, 1, 2):  # 0 is still held once, 2 is the one that may stay, 1 goes
        groups.release((0, group))
    wait_for(lambda: part.num_open == 2)
    used = threading.Event()
    groups.use((0, 0), (0,), lambda group: used.set() if group.is_open else None)
    assert used.wait(20)
    groups.hold((0, 2), 0)  # not fetched again
    groups.hold((0, 1), 0)  # which is
    wait_for(lambda: part.num_open == 3)
    makers.close()
    groups.close()
    assert part.num_open == 0
    assert part.opened == {0: 1, 1: 2, 2: 1}


class Slow(FakePart):
    """Whose groups, all but the first, take until `gate` is set."""

    gate = threading.Event()

    @contextmanager
    def open(self, group: int) -> Iterator[FakeGroup]:
        with super().open(group) as opened:
            assert group == 0 or self.gate.wait(20)
            yield opened


def test_a_group_whose_closing_has_not_begun_at_the_end_is_closed(makers: Workers) -> None:
    part = Slow("video", [1] * 9)
    groups: OpenGroups[Made] = OpenGroups([part], makers, max_idle=0, on_error=no_error)
    groups.hold((0, 0), 0)
    used = threading.Event()
    groups.use((0, 0), (0,), lambda group: used.set())
    assert used.wait(20)
    for group in range(1, 9):
        groups.hold((0, group), group)
    wait_for(lambda: part.num_open > 3)  # all that fetch are at it
    groups.release((0, 0))
    makers.close()
    threading.Timer(0.2, part.gate.set).start()
    groups.close()
    assert part.num_open == 0


def test_what_waits_for_a_group_is_told_why_it_cannot_be_opened(makers: Workers) -> None:
    part = FakePart("video", [1], errors={0: KeyMissing("gone")})
    groups: OpenGroups[Made] = OpenGroups([part], makers, max_idle=1, on_error=no_error)
    told: list[object] = []
    groups.hold((0, 0), 0)
    groups.use((0, 0), (0,), told.append)
    groups.use((0, 0), (1,), told.append)
    wait_for(lambda: len(told) == 2)
    assert told == [part.errors[0]] * 2
    makers.close()
    groups.close()


def test_workers_do_first_what_is_most_urgent_and_tell_of_errors() -> None:
    done: list[object] = []
    workers = Workers(1, "test", lambda error: done.append(str(error)))
    started, gate = threading.Event(), threading.Event()
    workers.push((0,), lambda: (started.set(), gate.wait(20), None)[-1])
    assert started.wait(20)

    def fail() -> None:
        raise ValueError("no")

    for priority in ((3,), (1, 5), (1,), (2,)):
        workers.push(priority, fail if priority == (2,) else lambda priority=priority: done.append(priority))
    gate.set()
    wait_for(lambda: len(done) == 4)
    assert done == [(1,), (1, 5), "no", (3,)]
    workers.close()
    workers.push((0,), lambda: done.append("too late"))
    assert len(done) == 4
