"""The experiment of docs/results.md: what its tables and its plot say of errors that are known."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.video_labels import page, plot
from bench.video_labels.conditions import CONDITIONS, POSED_MEAN, REFERENCES, SETTINGS
from bench.video_labels.scores import PLANE_PX, POSE_DEG, auc_sets, table_of
from gim.evaluation.auc import error_auc

NUM_SEEDS = 3
_BETTER = {"homographies": 9.0, "base": 6.0, "propagated": 3.0, "mutual": 12.0, "published": 2.0}  # error scale


class _Held:
    """As much of a benchmark as the tables look at."""

    def __init__(self, name, thresholds):
        self.name, self.thresholds = name, thresholds


FOUND = [_Held("fox", POSE_DEG), _Held("kitti06", POSE_DEG), _Held("homography", PLANE_PX)]


@pytest.fixture(scope="module")
def errors():
    """Condition or reference -> benchmark -> of each run, [protocol seeds, pairs]; later conditions are better."""
    random = np.random.default_rng(5)
    easy = {held.name: random.uniform(0.1, 2.0, 40) for held in FOUND}
    return {
        name: {
            held.name: [scale * easy[held.name] * random.uniform(0.9, 1.1, (2, 40)) for _ in range(runs)]
            for held in FOUND
        }
        for name, scale in _BETTER.items()
        for runs in [1 if name in {each.name for each in REFERENCES} else NUM_SEEDS]
    }


@pytest.fixture(scope="module")
def document(errors):
    return {
        "machine": {"processor": "A processor", "cores": 2},
        "num_pairs": 10_000,
        "seeds": list(range(NUM_SEEDS)),
        "recipe": "tiny",
        "sets": list(SETTINGS),
        "datasets": {condition.name: {"id": "x-00000000", "pairs": 1234} for condition in CONDITIONS},
        **table_of(errors, FOUND),
    }


def test_means_are_those_of_all_pairs_and_runs(document, errors):
    for held in FOUND:
        for bound in held.thresholds:
            slow = np.mean([error_auc(row, [bound])[0] for run in errors["base"][held.name] for row in run])
            assert document["auc"]["base"][held.name][f"{bound:g}"]["mean"] == pytest.approx(100 * slow)


def test_the_mean_of_both_posed_sets_is_one(document):
    rows = document["auc"]["propagated"]
    for bound in ("5", "10", "20"):
        mean = (rows["fox"][bound]["mean"] + rows["kitti06"][bound]["mean"]) / 2
        assert rows[POSED_MEAN][bound]["mean"] == pytest.approx(mean)


def test_the_seeds_alone_have_the_mean_of_all(document):
    for name, by_bound in document["seeds_alone"].items():
        for bound, runs in by_bound.items():
            assert len(runs) == NUM_SEEDS
            assert np.mean(runs) == pytest.approx(document["auc"][name][POSED_MEAN][bound]["mean"])


def test_intervals_hold_the_mean_and_widen_with_runs_that_differ(errors):
    rows = errors["base"]["fox"]
    mean, sets = auc_sets(rows, "fox", 10.0)
    assert sets.min() < mean < sets.max()
    _, alike = auc_sets([rows[0]] * NUM_SEEDS, "fox", 10.0)
    _, apart = auc_sets([rows[0], rows[0] / 3, rows[0] * 3], "fox", 10.0)
    assert np.std(apart) > np.std(alike)


def test_a_condition_that_is_better_on_all_pairs_adds_something_in_all_sets(document):
    assert list(document["steps"]) == ["base - homographies", "propagated - homographies", "propagated - base"]
    for by_bound in document["steps"].values():
        assert all(0 < each["low"] <= each["mean"] <= each["high"] for each in by_bound.values())


def test_the_page_has_a_row_for_everything_that_was_scored(document):
    shown = page.section(document)
    estimate = document["auc"]["propagated"]["fox"]["5"]
    assert f"{estimate['mean']:.1f} ({estimate['low']:.1f} to {estimate['high']:.1f})" in shown
    for each in (*CONDITIONS, *REFERENCES):
        assert shown.count(f"| {each.words} |") == len(page.TITLES) + (each in CONDITIONS)
    assert re.search(r"^\| \(c\) - \(b\) \| \+\d", shown, re.MULTILINE)
    assert "1,234 pairs" in shown
    assert "`sample.width=480`" in shown


def test_the_page_says_what_to_run_before_anything_was_measured():
    assert "make experiment-video-labels" in page.section(None)


def test_bars_are_as_high_as_their_scores(document):
    root = ElementTree.fromstring(plot.plot(document))
    bars = [element for element in root.iter() if (element.get("class") or "").endswith(" bar")]
    assert len(bars) == len(CONDITIONS) * len(page.TITLES) * len(POSE_DEG)
    of_fox = bars[: len(CONDITIONS) * len(POSE_DEG)]
    means = [document["auc"][c.name]["fox"][f"{bound:g}"]["mean"] for bound in POSE_DEG for c in CONDITIONS]
    tops = [float(bar.get("y")) for bar in of_fox]
    per_point = (tops[0] - tops[-1]) / (means[-1] - means[0])
    assert tops == pytest.approx([tops[0] - per_point * (mean - means[0]) for mean in means], abs=0.11)
    feet = {round(float(bar.get("y")) + float(bar.get("height")), 1) for bar in of_fox}
    assert len(feet) == 1
