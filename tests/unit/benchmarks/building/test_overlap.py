"""Overlap is what a ray-cast of the true scene says, and what counting tracks by hand says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.building.overlap import depth_overlap, depth_view, track_overlaps
from gim.benchmarks.building.pinhole import grid_of, pinhole_view
from gim.benchmarks.building.scene import Lens, SourceImage
from gim.synthetic.raycast import lift
from tests.unit.benchmarks.building.posed_sources import SIZE, is_seen, room


def view_of(index, depth=None):
    camera = room().cameras[index]
    lens = Lens("camera", camera.K, SIZE)
    image = SourceImage("x", None, lens, camera.T_camera_to_world)
    return depth_view(image, pinhole_view(lens, SIZE), room().depths[index] if depth is None else depth)


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (0, 3), (3, 0), (1, 5), (5, 0), (2, 2)])
def test_depth_overlap_is_the_share_of_pixels_that_rays_say_is_seen(pair):
    first, second = (room().cameras[index] for index in pair)
    depth = room().depths[pair[0]].ravel().astype(np.float64)
    pixels = grid_of(*SIZE)
    truth = is_seen(second, lift(first, pixels[depth > 0], depth[depth > 0])).mean()
    assert depth_overlap(view_of(pair[0]), view_of(pair[1])) == pytest.approx(truth, abs=0.02)


def test_a_wall_between_hides_what_lies_behind_it():
    wall = np.full_like(room().depths[1], 0.2)
    assert depth_overlap(view_of(0), view_of(1)) > 0.5
    assert depth_overlap(view_of(0), view_of(1, wall)) < 0.02


def test_what_is_not_known_counts_neither_way():
    holes = room().depths[1].copy()
    whole = depth_overlap(view_of(0), view_of(1))
    holes[:, :20] = 0
    assert depth_overlap(view_of(0), view_of(1, holes)) == pytest.approx(whole, abs=0.06)
    assert depth_overlap(view_of(0), view_of(1, np.zeros_like(holes))) == 0
    assert depth_overlap(view_of(0, np.zeros_like(holes)), view_of(1)) == 0


@given(st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=6))
def test_track_overlaps_are_counts(sets):
    shares = track_overlaps([np.array(sorted(ids), np.int64) for ids in sets])
    for i, first in enumerate(sets):
        for j, second in enumerate(sets):
            assert shares[i, j] == (len(first & second) / len(first) if first else 0)
