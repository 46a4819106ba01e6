"""The draw is even, keeps to what was asked for, and depends on its seed alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.building.drawing import DrawSettings, candidate_pairs, draw_pairs
from gim.errors import InvalidInput

overlaps = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=60)


@given(overlaps, st.integers(1, 40), st.integers(1, 12), st.floats(0, 0.5), st.integers(0, 3))
def test_every_bin_gives_what_it_has_up_to_its_share(found, number, bins, least, seed):
    candidates = [(index, index + 1, *pair) for index, pair in enumerate(found)]
    settings = DrawSettings(number, bins, least, 1.0, seed)
    drawn, counts = draw_pairs(candidates, settings, "scene")
    assert drawn == draw_pairs(candidates, settings, "scene")[0]
    assert drawn == sorted(set(drawn))
    assert set(drawn) <= set(candidates)
    assert all(min(pair[2:]) >= least and min(pair[2:]) > 0 for pair in drawn)
    assert sum(count.num_asked for count in counts) == number
    assert max(count.num_asked for count in counts) - min(count.num_asked for count in counts) <= 1
    assert sum(count.num_drawn for count in counts) == len(drawn)
    assert sum(count.num_candidates for count in counts) == sum(min(p) >= least and min(p) > 0 for p in found)
    for count in counts:
        assert count.num_drawn == min(count.num_asked, count.num_candidates)


def test_another_seed_draws_other_pairs_and_another_scene_too():
    candidates = [(0, index, 0.5, 0.5) for index in range(1, 200)]
    draws = [
        draw_pairs(candidates, DrawSettings(10, 1, 0.1, 1.0, seed), scene)[0]
        for seed, scene in ((0, "a"), (1, "a"), (0, "b"))
    ]
    assert draws[0] != draws[1]
    assert draws[0] != draws[2]


def test_candidates_are_all_pairs_or_a_draw_with_near_and_far_ones():
    assert len(candidate_pairs(20, DrawSettings(), "s")) == 190
    some = candidate_pairs(300, DrawSettings(max_candidates=1000), "s")
    assert len(np.unique(some, axis=0)) == len(some)
    assert 900 < len(some) <= 1000
    assert (some[:, 0] < some[:, 1]).all()
    gaps = some[:, 1] - some[:, 0]
    assert (gaps <= 5).mean() > 0.1
    assert (gaps > 100).mean() > 0.1


@pytest.mark.parametrize("settings", [{"bins": 0}, {"pairs_per_scene": 0}, {"min_overlap": 0.5, "max_overlap": 0.5}])
def test_settings_that_can_draw_nothing_are_refused(settings):
    with pytest.raises(InvalidInput):
        DrawSettings(**settings)
