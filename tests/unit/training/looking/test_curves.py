"""Charts of curves: thinned as the obvious loop would, of bounded size, and told to who cannot see them."""

import math
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gim.training.looking.curves import Series, chart, group_curves, number, thinned


def reference(steps, values, columns):
    """Column by column."""
    found, extent = {}, steps[-1] - steps[0] or 1.0
    for step, value in zip(steps, values, strict=True):
        found.setdefault(min(int((step - steps[0]) / extent * columns), columns - 1), []).append((step, value))
    rows = []
    for _, group in sorted(found.items()):
        values = [value for _, value in group]
        rows.append((np.mean([step for step, _ in group]), np.mean(values), min(values), max(values)))
    return rows


@given(
    st.dictionaries(st.integers(1, 500), st.floats(-1e3, 1e3), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_thinned_is_the_mean_and_reach_of_each_column(points, columns):
    series = Series.of("training", points.items())
    drawn = thinned(series, columns)
    if len(points) <= columns:
        assert drawn.is_whole
        assert np.array_equal(drawn.means, series.values)
        return
    expected = reference(series.steps.tolist(), series.values.tolist(), columns)
    got = np.column_stack([drawn.steps, drawn.means, drawn.lows, drawn.highs])
    assert np.allclose(got, expected, atol=1e-9, rtol=1e-9)


def test_series_are_in_order_without_what_is_no_number_and_the_later_point_of_a_step_stays():
    series = Series.of("", [(4, 1.0), (2, 5.0), (3, math.nan), (2, 6.0), (9, math.inf)])
    assert (series.steps.tolist(), series.values.tolist()) == ([2, 4], [6, 1])


def test_fifty_thousand_points_make_no_larger_a_chart_than_a_thousand():
    rng = np.random.default_rng(0)
    sizes = []
    for num in (1_000, 50_000):
        series = Series.of("training", zip(range(1, num + 1), rng.normal(5, 1, num).tolist(), strict=True))
        sizes.append(len(chart("loss", [series], num)))
    assert sizes[1] < 1.2 * sizes[0] < 30_000


def test_a_spike_does_not_flatten_the_rest_and_is_said():
    values = [1 + 0.1 * math.sin(step) for step in range(200)]
    values[77] = 1e6
    svg = chart("loss", [Series.of("", enumerate(values))], 200)
    assert "1 higher" in svg
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", svg)]
    assert np.ptp(heights) > 60  # pixels; of a scale up to a million all would lie on the floor
    assert "higher" not in chart("loss", [Series.of("", enumerate(values[:70]))], 200)


def test_a_chart_tells_its_lines_in_words_and_marks_few_points():
    few = Series.of("held out", [(10, 2.0), (20, 1.5)])
    svg = chart("loss", [Series.of("training", [(5, 3.0), (20, 1.0)]), few], 20)
    assert 'role="img"' in svg
    assert "training goes from 3 at step 5 to 1 at step 20" in svg
    assert "held out goes from 2 at step 10 to 1.5 at step 20" in svg
    assert "held out, step 10: 2" in svg
    assert "no value" in chart("loss", [], 20)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=5))
def test_a_chart_of_any_numbers_is_drawn_inside_itself(values):
    svg = chart("loss", [Series.of("", enumerate(values))], len(values))
    for y in re.findall(r"[ML]-?[\d.e+]+ (-?[\d.e+]+)", svg):
        assert 0 <= float(y) <= 220


def test_curves_lie_where_people_look_for_them():
    points = {
        name: [(1, 1.0)]
        for name in (
            "video/positive", "validation/video/positive", "validation/loss", "loss", "lr", "gradient_norm",
            "pairs_per_second", "auc/zeb/5", "auc/zeb/10", "skipped/video/damaged", "bad_steps", "odd",
        )
    }  # fmt: skip
    found = group_curves(points)
    lines = {
        (section, title): [item.name for item in series]
        for section, charts in found.items()
        for title, series in charts.items()
    }
    assert lines == {
        ("Loss", "loss"): ["training", "held out"],
        ("Benchmarks", "AUC on zeb"): ["@5°", "@10°"],
        ("Terms of the loss", "video: positive"): ["training", "held out"],
        ("Optimisation", "learning rate"): [""],
        ("Optimisation", "gradient norm"): [""],
        ("Speed", "pairs per second"): [""],
        ("Further", "odd"): [""],
    }


def test_numbers_are_short():
    assert [number(value) for value in (1e-5, 0.12346, 12.3456, 20_000, 1.5e6)] == [
        "1e-05", "0.1235", "12.35", "20k", "1.5M",
    ]  # fmt: skip
