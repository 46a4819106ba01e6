"""The mixture: shares come out as asked for, and a draw depends on its step and lane alone."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import ConfigError
from gim.training.data.mixing import Mixture


@given(
    shares=st.lists(st.floats(0, 5), min_size=1, max_size=5).filter(lambda shares: sum(shares) > 0.01),
    seed=st.integers(0, 2**32),
    lane=st.integers(0, 200),
)
@settings(max_examples=50)
def test_parts_come_as_often_as_their_shares_say(shares: list[float], seed: int, lane: int) -> None:
    number = 4000
    counts = Mixture(shares, seed=seed).counts(number, lane)
    for share, count in zip(shares, counts, strict=True):
        p = share / sum(shares)
        assert abs(count - number * p) <= 6 * math.sqrt(number * p * (1 - p)) + 1e-6


def test_counts_are_those_of_one_draw_after_another() -> None:
    mixture = Mixture([1, 2, 0.5], seed=1)
    drawn = [mixture.part(step, 7) for step in range(200)]
    assert mixture.counts(200, 7) == np.bincount(drawn, minlength=3).tolist()
    assert mixture.counts(0, 7) == [0, 0, 0]


def test_lanes_and_neighbouring_steps_draw_on_their_own() -> None:
    mixture = Mixture([1, 1], seed=0)
    lanes = np.array([[mixture.part(step, lane) for step in range(400)] for lane in range(6)])
    related = np.corrcoef(lanes)[np.triu_indices(6, 1)]
    assert np.abs(related).max() < 0.2
    # Lane l of step s must not be lane l + 1 of step s - 1, and the like.
    shifted = [abs(np.corrcoef(lanes[0, 3:], lanes[lane, 3 - by : 400 - by])[0, 1]) for lane in (1, 2) for by in (1, 2)]
    assert max(shifted) < 0.2


@pytest.mark.parametrize("shares", [[], [0, 0], [1, -0.1], [math.nan]])
def test_shares_that_say_nothing_are_refused(shares: list[float]) -> None:
    with pytest.raises(ConfigError, match="mix: shares"):
        Mixture(shares, seed=0)
