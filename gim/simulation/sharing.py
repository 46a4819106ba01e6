"""What waiting for a shared server adds, when all that work want more of it than it has.

A server that is short is taken to serve all alike: each unit (a byte, a request, a message) takes longer by the same
time, whoever asks for it. That time is found as the root of demand = capacity, with as many at work as there are now.
Below its capacity a server adds nothing: the times of a plan hold its answer when nobody else asks. So the many are
described well, and the few who happen to ask at once are not.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gim.simulation.messages import SHARED, Floats, Messages

_ROUNDS = 8
_STEPS = 40


def waiting_seconds(at_work: Sequence[Messages], capacity: Floats) -> Floats:
    """Seconds that each unit of each server takes longer, float64 [len(SHARED)].

    Args:
        at_work: what is in hand now, by stage.
        capacity: float64 [len(SHARED)], units a second; infinite: without limit.
    """
    delays = np.zeros(len(SHARED))
    limited = np.flatnonzero(np.isfinite(capacity)).tolist()
    stages = [each for each in at_work if len(each)] if limited else []
    if not stages:
        return delays
    work = np.concatenate([each.work for each in stages])
    units = np.concatenate([each.units for each in stages])  # [messages, servers]

    def asked(server: int, delay: float) -> float:
        delays[server] = delay
        return float((units[:, server] / np.maximum(work + units @ delays, 1e-9)).sum())

    short = [server for server in limited if asked(server, 0.0) > capacity[server]]
    for _ in range(_ROUNDS if len(short) > 1 else 1):
        for server in short:
            delays[server] = _least(partial(asked, server), float(capacity[server]))
    return delays


def _least(asked: Callable[[float], float], capacity: float) -> float:
    """The least delay at which no more is asked for than there is; the longer the delay, the less is asked for."""
    if asked(0.0) <= capacity:
        return 0.0
    low, high = 0.0, 1e-9
    while asked(high) > capacity:
        low, high = high, high * 4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if asked(middle) > capacity else (low, middle)
    return high
