"""What the trained matchers promise on pairs of known geometry: the accuracy bench, every claim of its quick form."""

import pytest

pytest.importorskip("torch")

from bench import accuracy
from bench.workspace import Workspace

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def test_half_precision_costs_no_accuracy(tmp_path, shared_data):
    """The settings that make networks fast leave poses as they were: AUC@5 within 0.5."""
    found = accuracy.measure(Workspace(tmp_path, shared_data / "data", "quick"), ["precision"])
    assert len(found.claims) == 3
    assert [claim for claim in found.claims if not claim.holds] == []


def test_rootsift_is_above_the_floor_on_every_fifth_pair(tmp_path, shared_data):
    """The floor is stated for all pairs; `python -m bench accuracy` judges by all of them."""
    found = accuracy.measure(Workspace(tmp_path, shared_data / "data", "quick"), ["pose"])
    (table,) = found.tables
    scores = {row[1]: row[3:6] for row in table.rows if row[0] == "rootsift"}
    for scene, floor in accuracy.SIFT_FLOOR.items():
        assert all(score > bound - 5 for score, bound in zip(scores[scene], floor, strict=True)), scene
