"""Puts side by side: all there at the end, few held at a time, the first error told."""

import threading
import time
from collections.abc import Callable

import pytest

from gim.errors import Unavailable
from gim.stages.parallel_puts import ParallelPuts


def put_all(put: Callable[[str, bytes], object], number: int, then: BaseException | None = None) -> None:
    with ParallelPuts(put) as puts:
        for each in range(number):
            puts.put(str(each), bytes([each]))
        if then is not None:
            raise then


def test_all_objects_are_there_at_the_end() -> None:
    written: dict[str, bytes] = {}

    def put(key: str, data: bytes) -> None:
        time.sleep(0.002 * (int(key) % 3))
        written[key] = data

    put_all(put, 50)
    assert written == {str(number): bytes([number]) for number in range(50)}


def test_slow_disk_holds_the_caller_back() -> None:
    disk = threading.Event()
    offered = []

    def offer() -> None:
        with ParallelPuts(lambda _key, _data: disk.wait(10)) as puts:
            for number in range(100):
                puts.put(str(number), b"")
                offered.append(number)

    caller = threading.Thread(target=offer)
    caller.start()
    time.sleep(0.2)
    assert len(offered) < 30
    disk.set()
    caller.join()
    assert len(offered) == 100


@pytest.mark.parametrize("number", [0, 49])
def test_error_of_a_put_is_raised(number: int) -> None:
    def put(key: str, _data: bytes) -> None:
        if key == str(number):
            raise Unavailable("full")

    with pytest.raises(Unavailable, match="full"):
        put_all(put, 50)


def test_nothing_is_written_after_an_error_of_the_caller() -> None:
    written: list[str] = []

    def put(key: str, _data: bytes) -> None:
        time.sleep(0.05)
        written.append(key)

    with pytest.raises(KeyboardInterrupt):
        put_all(put, 10, then=KeyboardInterrupt())
    num_written = len(written)
    assert num_written < 10
    time.sleep(0.15)
    assert len(written) == num_written
