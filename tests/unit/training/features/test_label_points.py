"""Which labels become keypoints: at photographed pixels, apart from each other, in any order but always the same."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from gim.training.features.label_points import draw_labels, generator_for
from gim.training.samples import Labels
from tests.unit.training.features.fakes import sample_of


def slowly_drawn(points, valid0, valid1, num, distance, rng):
    """The same, one label after another."""
    height, width = valid0.shape

    def is_seen(x, y, valid):
        column, row = int(np.rint(x)), int(np.rint(y))
        return 0 <= column < width and 0 <= row < height and bool(valid[row, column])

    seen = [i for i, (x0, y0, x1, y1) in enumerate(points) if is_seen(x0, y0, valid0) and is_seen(x1, y1, valid1)]
    kept = []
    for index in rng.permutation(seen).astype(int):
        others = points[kept].astype(float)
        gap0 = np.linalg.norm(others[:, :2] - points[index, :2].astype(float), axis=1)
        gap1 = np.linalg.norm(others[:, 2:] - points[index, 2:].astype(float), axis=1)
        if np.all(gap0 > distance) and np.all(gap1 > distance):
            kept.append(index)
    return kept[:num]


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 30), st.sampled_from([0.0, 0.5, 1.0, 3.5]))
def test_draw_labels_is_the_greedy_choice_in_random_order(seed, num_points, num, distance):
    rng = np.random.default_rng(seed)
    points = rng.integers(-2, 26, (num_points, 4)).astype(np.float32) / 2  # many at equal places, some outside
    valid0, valid1 = rng.random((2, 11, 12)) < 0.8
    found = draw_labels(points, valid0, valid1, num=num, min_distance_px=distance, rng=np.random.default_rng(seed))
    expected = slowly_drawn(points, valid0, valid1, num, distance, np.random.default_rng(seed))
    assert found.tolist() == expected


def test_generator_for_a_sample_is_its_own_and_changes_with_its_labels():
    sample = sample_of("a", np.random.default_rng(0))
    others = [
        dataclasses.replace(sample, name="b"),
        dataclasses.replace(sample, part="other"),
        dataclasses.replace(sample, truth=Labels(sample.truth.points + np.float32(0.5))),
    ]
    number = generator_for(sample).integers(2**60)
    assert generator_for(dataclasses.replace(sample)).integers(2**60) == number
    assert len({number, *(generator_for(other).integers(2**60) for other in others)}) == 4
