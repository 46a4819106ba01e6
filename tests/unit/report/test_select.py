"""The choice of drawn pairs is bounded, deterministic, and holds the extremes it promises."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gim.records import PairEntry, PairQuality
from gim.report.select import TAGS, score_pair, select_pairs, share_out, spread_subset


def make_quality(**changes):
    values = {
        "num_correspondences": 300,
        "interval_frames": 12,
        "interval_seconds": 0.4,
        "num_links": 1,
        "guided_share": 0.1,
        "confirmed_share": 1.0,
        "coverage": 0.5,
        "median_displacement_px": 20.0,
        "median_parallax_px": 5.0,
        "epipolar_residual_px": 0.4,
        "num_matchers": 1,
    }
    return PairQuality(**{**values, **changes})


def make_entry(start, **changes):
    quality = make_quality(**changes)
    end = start + quality.interval_frames
    times = (start / 30, start / 30 + quality.interval_seconds)
    return PairEntry(f"{start:08d}_{end:08d}", 0, start, end, *times, 0, quality)


@st.composite
def entry_lists(draw):
    starts = draw(st.lists(st.integers(0, 3000), unique=True, max_size=60))
    residuals = st.floats(0, 5)
    return [
        make_entry(
            start, epipolar_residual_px=draw(residuals), interval_seconds=draw(st.sampled_from([0.4, 0.8, 1.6, 3.2]))
        )
        for start in sorted(starts)
    ]


@given(entry_lists(), st.integers(0, 40))
def test_select_pairs_when_any_list_then_bounded_unique_ordered_and_tagged(pairs, limit):
    chosen = select_pairs(pairs, limit)
    names = [item.entry.name for item in chosen]
    assert len(chosen) == min(limit, len(pairs))
    assert names == sorted(set(names))
    assert all(item.tags and set(item.tags) <= set(TAGS) for item in chosen)


@given(entry_lists(), st.integers(3, 40))
def test_select_pairs_when_any_list_then_holds_the_very_worst_and_best(pairs, limit):
    if not pairs:
        return
    scores = [score_pair(pair.quality) for pair in pairs]
    tagged = {tag: [score_pair(i.entry.quality) for i in select_pairs(pairs, limit) if tag in i.tags] for tag in TAGS}
    assert min(tagged["worst"]) == min(scores)
    assert max(tagged["best"]) == max(scores)
    reach = [i.entry.quality.interval_seconds for i in select_pairs(pairs, limit) if "farthest" in i.tags]
    assert max(reach) == max(pair.quality.interval_seconds for pair in pairs)


def test_select_pairs_when_the_worst_are_neighbours_then_they_are_kept_apart():
    pairs = [make_entry(6 * i, epipolar_residual_px=3.0 if i < 50 else 0.2 + i / 1000) for i in range(200)]
    worst = [item.entry.frame0 for item in select_pairs(pairs, 40) if "worst" in item.tags]
    gaps = np.diff(sorted(start for start in worst if start < 300))
    assert gaps.min() * 200 >= (199 * 6) / 40 * 200 * 0.99  # a fortieth of the video at least


def test_select_pairs_when_asked_twice_in_another_order_of_ties_then_equal():
    pairs = [make_entry(6 * i) for i in range(100)]
    assert select_pairs(pairs, 20) == select_pairs(list(pairs), 20)


@given(st.integers(0, 50), st.integers(1, 500), st.floats(0, 1), st.floats(0, 30), st.floats(0, 5))
def test_score_pair_when_one_term_gets_worse_then_never_higher(more, number, coverage, parallax, residual):
    base = {"num_correspondences": number, "coverage": coverage, "median_parallax_px": parallax}
    score = score_pair(make_quality(epipolar_residual_px=residual, **base))
    assert 0 <= score <= 1
    assert score_pair(make_quality(epipolar_residual_px=residual + more, **base)) <= score


def test_score_pair_when_every_term_is_at_its_half_then_half():
    quality = make_quality(epipolar_residual_px=1.0, num_correspondences=200, coverage=0.5, median_parallax_px=2.0)
    assert score_pair(quality) == 0.5


@given(st.integers(0, 200), st.lists(st.integers(0, 40), max_size=30))
def test_share_out_when_any_sizes_then_used_up_and_even(limit, sizes):
    shares = share_out(limit, sizes)
    assert sum(shares) == min(limit, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    unsatisfied = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    assert not unsatisfied or max(shares) - min(unsatisfied) <= 1


def spread_subset_slowly(points, limit, columns=16, rows=12):
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    cells = {}
    for i, point in enumerate(points[:, :2]):
        u, v = (point - low) / np.maximum(high - low, 1e-6) * (columns, rows)
        cells.setdefault((int(min(v, rows - 1)), int(min(u, columns - 1))), []).append(i)
    kept = []
    while len(kept) < limit:  # one of every cell in turn
        for cell in sorted(cells):
            if cells[cell] and len(kept) < limit:
                kept.append(cells[cell].pop(0))
    return sorted(kept)


@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(1, 60))
def test_spread_subset_when_any_points_then_takes_turns_among_cells(seed, count, limit):
    points = (np.random.default_rng(seed).random((count, 4)) ** 2 * 640).astype(np.float32)
    expected = spread_subset_slowly(points, limit) if count > limit else list(range(count))
    assert spread_subset(points, limit).tolist() == expected
