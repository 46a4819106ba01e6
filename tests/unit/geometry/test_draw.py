import numpy as np
import pytest

from gim.geometry.draw import draw_correspondences

GREY0 = np.full((60, 100, 3), 90, np.uint8)
GREY1 = np.full((80, 50, 3), 110, np.uint8)


def test_images_lie_side_by_side_and_untouched_where_no_line_runs():
    canvas = draw_correspondences(GREY0, GREY1, np.empty((0, 4), np.float32), np.empty(0, bool))
    assert canvas.shape == (80, 100 + 8 + 50, 3)
    np.testing.assert_array_equal(canvas[:60, :100], GREY0)
    np.testing.assert_array_equal(canvas[:, 108:], GREY1)


def test_a_line_joins_the_two_places():
    row = np.array([[20, 30, 10, 30]], np.float32)
    canvas = draw_correspondences(GREY0, GREY1, row, np.array([True])).astype(int)
    changed = np.abs(canvas[30, :100] - 90).max(axis=1) > 20
    assert changed[20:100].all()
    assert not changed[:16].any()
    assert np.abs(canvas[30, 108:119] - 110).max(axis=1).all()
    assert np.abs(canvas[30, 124:] - 110).max() == 0


def test_outliers_are_drawn_below_inliers_and_in_another_colour():
    rows = np.array([[50, 30, 25, 30], [50, 30, 25, 30]], np.float32)
    inlier = draw_correspondences(GREY0, GREY1, rows[:1], np.array([True]))
    both = draw_correspondences(GREY0, GREY1, rows, np.array([True, False]))
    outlier = draw_correspondences(GREY0, GREY1, rows[:1], np.array([False]))
    np.testing.assert_allclose(inlier[30, 104], both[30, 104], atol=20)  # anti-aliased: a little shines through
    assert np.abs(inlier[30, 104].astype(int) - outlier[30, 104]).max() > 60


def test_many_correspondences_are_thinned_out_evenly():
    y, x = np.mgrid[2:58, 2:98]
    rows = np.column_stack([x.ravel(), y.ravel(), x.ravel() / 2, y.ravel()]).astype(np.float32)
    canvas = draw_correspondences(GREY0, GREY1, rows, np.ones(len(rows), bool), max_lines=40)
    assert canvas.shape == (80, 158, 3)
    drawn_rows = np.flatnonzero(np.abs(canvas[:60, 104].astype(int) - 24).max(axis=1) > 20)
    assert drawn_rows.min() < 15
    assert drawn_rows.max() > 45


@pytest.mark.parametrize("width", [3000, 5000])
def test_large_images_are_shrunk_and_the_lines_with_them(width):
    image = np.full((100, width, 3), 90, np.uint8)
    rows = np.array([[width / 2, 50, width / 2, 50]], np.float32)
    canvas = draw_correspondences(image, image, rows, np.array([True]))
    scale = 4096 / (2 * width + 8)
    assert abs(canvas.shape[1] - 4096) < 16
    line = np.abs(canvas[round(50 * scale), :, :].astype(int) - 90).max(axis=1) > 20
    assert abs(np.flatnonzero(line).min() - scale * width / 2) < 8
