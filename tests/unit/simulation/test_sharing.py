"""What a short server costs: nothing below its capacity, and above it just as much as brings the demand down to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.simulation.messages import SHARED, Messages
from gim.simulation.sharing import waiting_seconds

READ, WRITTEN = SHARED.index("store bytes read"), SHARED.index("store bytes written")


def at_work(pods, work, read, written=0.0):
    units = np.zeros((pods, len(SHARED)))
    units[:, READ], units[:, WRITTEN] = read, written
    return Messages.of(np.zeros(pods), np.zeros(pods, np.int64), np.full(pods, work), np.arange(pods), units=units)


def demand(stages, delays):
    """Units a second."""
    return sum((each.units / (each.work + each.units @ delays)[:, None]).sum(axis=0) for each in stages)


def capacity(read, written=np.inf):
    found = np.full(len(SHARED), np.inf)
    found[READ], found[WRITTEN] = read, written
    return found


@given(
    st.integers(1, 50), st.floats(0.1, 100), st.floats(1, 1e9),
    st.integers(0, 50), st.floats(0.1, 100), st.floats(0, 1e9),
    st.floats(1e3, 1e9),
)  # fmt: skip
def test_demand_meets_the_capacity_or_nothing_is_added(pods0, work0, read0, pods1, work1, read1, limit) -> None:
    stages = [at_work(pods0, work0, read0), at_work(pods1, work1, read1)]
    delays = waiting_seconds(stages, capacity(limit))
    free = demand(stages, np.zeros(len(SHARED)))[READ]
    if free <= limit:
        assert not delays.any()
    else:
        assert demand(stages, delays)[READ] == pytest.approx(limit, rel=1e-6)


def test_two_short_servers_are_both_kept_within_their_capacity() -> None:
    stages = [at_work(100, 1.0, 5.0, 1.0), at_work(40, 2.0, 1.0, 9.0)]
    delays = waiting_seconds(stages, capacity(200.0, 120.0))
    assert demand(stages, delays)[[READ, WRITTEN]] == pytest.approx([200.0, 120.0], rel=1e-3)
    assert (delays[[READ, WRITTEN]] > 0).all()


def test_nobody_at_work_waits_for_nothing() -> None:
    assert not waiting_seconds([Messages.none()], capacity(1.0)).any()
    assert not waiting_seconds([at_work(9, 1.0, 1e9)], np.full(len(SHARED), np.inf)).any()
