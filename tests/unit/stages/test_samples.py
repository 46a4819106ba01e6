"""Stored frames that are held in memory: each is read once, and only so many bytes stay."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from gim.stages.samples import _HeldBytes

ROOM = 10


@given(st.lists(st.integers(0, 6), max_size=40))
def test_held_bytes_are_those_used_last_that_fit(asked) -> None:
    read: list[str] = []

    def take(key: str) -> bytes:
        read.append(key)
        return key.encode() * int(key)  # as many bytes as its number

    held = _HeldBytes(take, ROOM)
    expected: OrderedDict[str, int] = OrderedDict()  # the slow way: those used last, as long as they fit
    for number in asked:
        key = str(number)
        before = len(read)
        assert held.get(key) == key.encode() * number
        assert (len(read) == before) is (key in expected)
        expected[key] = number
        expected.move_to_end(key)
        while sum(expected.values()) > ROOM:
            expected.popitem(last=False)


def test_an_object_larger_than_the_room_is_given_and_not_held() -> None:
    held = _HeldBytes(lambda _: b"x" * (ROOM + 1), ROOM)
    assert len(held.get("big")) == ROOM + 1
    assert held._held == {}
    assert held._room == ROOM
