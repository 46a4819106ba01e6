"""Scores of planted correspondences: right ones, wrong ones, noisy ones; and how reports have them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.adapters.store_file import FileStore
from gim.benchmarks.posed import PosedPair
from gim.evaluation.passes import Evaluation
from gim.evaluation.pose_scorer import (
    Column,
    pair_results,
    pair_scores,
    pose_scorer,
    posed_results,
    right_matches,
)
from gim.evaluation.protocols import PROTOCOLS, PoseProtocol, protocol_named
from gim.evaluation.results_file import RIGHT_BELOW
from gim.evaluation.scores import Score, score_results
from gim.records import Float32Array, Float64Array
from tests.planted_matches import PlantedMatcher, PlantedViews
from tests.unit.evaluation.test_pose import K0, K1, View, noisy, rotation, view

GIM = protocol_named("gim")
STRICT = protocol_named("strict")
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


def pair_of(scene: View, overlap: float | None = 0.5) -> PosedPair:
    return PosedPair("0.png", "1.png", K0, K1, scene.T_0to1, overlap)


# --- planted correspondences, through both passes ---------------------------------------------------------------------


def score(folder: Path, protocol: PoseProtocol, found: Sequence[Float32Array], scenes: Sequence[View]) -> Score:
    """The score of a matcher that finds this."""
    pairs = [pair_of(scene) for scene in scenes]
    names = [(str(place), str(place)) for place in range(len(scenes))]
    matcher = PlantedMatcher({(place, place): points for place, points in enumerate(found)})
    store = FileStore(folder)
    evaluation = Evaluation(store, PlantedViews(names), pose_scorer(pairs, protocol), matcher)
    with ThreadPoolExecutor(2) as executor:
        evaluation.run(executor)
    rows = evaluation.rows()
    store.close()
    assert rows is not None
    assert rows.shape == (len(scenes), max(len(protocol.seeds), 1), len(Column))
    assert not np.isnan(rows).any()
    return score_results("planted", posed_results(pairs, rows))


@each_protocol
def test_exact_correspondences_score_a_hundred(tmp_path: Path, protocol: PoseProtocol) -> None:
    scenes = [view(seed) for seed in range(6)]
    found = score(tmp_path, protocol, [scene.points for scene in scenes], scenes)
    assert found.auc["5"] > 99.7  # what the solver leaves of float32 positions
    assert found.auc["20"] > 99.9
    assert (found.num_failures, found.precision_before, found.precision_after) == (0, 100, 100)


@each_protocol
def test_correspondences_of_another_pose_score_nothing(tmp_path: Path, protocol: PoseProtocol) -> None:
    scenes = [view(seed) for seed in range(6)]
    turned = np.eye(4)
    turned[:3, :3] = rotation(np.array([0, np.deg2rad(25), 0]))
    others = [replace(scene, T_0to1=turned @ scene.T_0to1) for scene in scenes]
    found = score(tmp_path, protocol, [scene.points for scene in scenes], others)
    assert set(found.auc.values()) == {0.0}
    assert found.num_failures == 0
    assert found.precision_before < 5


@each_protocol
def test_noise_costs_score_and_precision(tmp_path: Path, protocol: PoseProtocol) -> None:
    scenes = [view(seed) for seed in range(3)]
    exact, slight, strong = (
        score(tmp_path / str(px), protocol, [noisy(scene, px, seed) for seed, scene in enumerate(scenes)], scenes)
        for px in (0, 1, 6)
    )
    assert exact.auc["5"] - 3 > slight.auc["5"] > strong.auc["5"] + 15
    assert exact.precision_before == 100 > strong.precision_before + 2


@each_protocol
def test_nothing_found_is_a_failure_and_scores_zero(tmp_path: Path, protocol: PoseProtocol) -> None:
    scenes = [view(seed) for seed in range(3)]
    few = [np.empty((0, 4), np.float32), scenes[1].points[:4], scenes[2].points]
    found = score(tmp_path / "few", protocol, few, scenes)
    assert found.num_failures == 2
    assert found.auc["5"] == pytest.approx(100 / 3, abs=17)  # a third, its first part joined to zero by a line
    none = score(tmp_path / "none", protocol, [few[0]] * 3, scenes)
    assert (none.num_failures, set(none.auc.values())) == (3, {0.0})
    assert (none.precision_before, none.precision_after) == (0, 0)
    assert all((interval.low, interval.high) == (0, 0) for interval in none.interval.values())


def test_threads_change_no_number() -> None:
    scenes = [view(seed) for seed in range(6)]
    scorer = pose_scorer([pair_of(scene) for scene in scenes], STRICT)
    found = [noisy(scene, 1.0, seed, num_wrong=40) for seed, scene in enumerate(scenes)]
    alone = [scorer.score(place, points) for place, points in enumerate(found)]
    with ThreadPoolExecutor(4) as executor:
        together = list(executor.map(scorer.score, range(len(found)), found))
    assert np.array_equal(np.array(together), np.array(alone))


# --- which correspondences are right ----------------------------------------------------------------------------------


def plainly_right(points: Float32Array, K0: Float64Array, K1: Float64Array, T: Float64Array) -> list[bool]:
    """Sum of both squared distances from a point to the line of the other, in normalised coordinates."""
    found = []
    t, R = T[:3, 3], T[:3, :3]
    for x0, y0, x1, y1 in np.asarray(points, np.float64):
        ray0, ray1 = np.linalg.solve(K0, [x0, y0, 1]), np.linalg.solve(K1, [x1, y1, 1])
        line1 = np.cross(t, R @ ray0)  # the plane through both centres and the ray, in camera 1
        line0 = R.T @ np.cross(ray1, t)
        squared = 0.0
        for ray, line in ((ray0, line0), (ray1, line1)):
            squared += (ray @ line) ** 2 / (line[0] ** 2 + line[1] ** 2)
        found.append(bool(squared < RIGHT_BELOW))
    return found


@given(st.integers(0, 10_000), st.integers(0, 30), st.floats(0, 20))
def test_right_matches_are_those_near_their_epipolar_lines(seed: int, number: int, noise_px: float) -> None:
    scene = view(seed, number)
    points = noisy(scene, noise_px, seed)
    found = right_matches(points, K0, K1, scene.T_0to1)
    assert found.dtype == bool
    assert found.tolist() == plainly_right(points, K0, K1, scene.T_0to1)


def test_some_of_the_noisy_are_right_and_some_are_not() -> None:
    scene = view(3)
    assert right_matches(scene.points, K0, K1, scene.T_0to1).all()
    share = right_matches(noisy(scene, 8.0), K0, K1, scene.T_0to1).mean()
    assert 0.2 < share < 0.95  # so that the comparison above compares something


def test_the_length_of_the_baseline_does_not_matter_but_there_must_be_one() -> None:
    scene = view(3)
    points = noisy(scene, 8.0)
    longer, none = scene.T_0to1.copy(), scene.T_0to1.copy()
    longer[:3, 3] *= 1000
    none[:3, 3] = 0
    assert np.array_equal(right_matches(points, K0, K1, longer), right_matches(points, K0, K1, scene.T_0to1))
    assert not right_matches(scene.points, K0, K1, none).any()
    assert len(right_matches(np.empty((0, 4), np.float32), K0, K1, scene.T_0to1)) == 0


def test_positions_that_are_no_numbers_are_not_right() -> None:
    scene = view(3, 4)
    points = scene.points.copy()
    points[0, 2] = np.nan
    assert right_matches(points, K0, K1, scene.T_0to1).tolist() == [False, True, True, True]


# --- how results and reports have them --------------------------------------------------------------------------------


def test_the_scorers_id_names_protocol_and_truth() -> None:
    scenes = [view(0), view(1)]
    pairs = [pair_of(scene) for scene in scenes]
    moved = scenes[1].T_0to1.copy()
    moved[0, 3] += 1e-9
    others = [
        pose_scorer(pairs, STRICT),
        pose_scorer(pairs, replace(GIM, threshold_px=1.0)),
        pose_scorer(pairs, replace(GIM, revision=2)),
        pose_scorer(pairs[:1], GIM),
        pose_scorer(pairs[::-1], GIM),
        pose_scorer([pairs[0], replace(pairs[1], T_0to1=moved)], GIM),
        pose_scorer([pairs[0], replace(pairs[1], K1=K0)], GIM),
    ]
    scorer = pose_scorer(pairs, GIM)
    assert scorer.id.startswith("gim-1-")
    assert len({scorer.id, *(other.id for other in others)}) == len(others) + 1
    assert pose_scorer([pair_of(scene, None) for scene in scenes], GIM).id == scorer.id  # an overlap scores nothing


def rows_of(*seeds: Sequence[float]) -> Float64Array:
    return np.array([seeds], np.float64)


def test_results_count_shares_of_right_matches() -> None:
    rows = rows_of((1, 2, 0.5, 200, 50, 40, 30), (3, 1, 0.25, 200, 50, 0, 0))
    first, second = pair_results(["s#a#b"], [(0.25, 0.75)], rows)
    (result,) = first
    assert (result.identifier, result.overlap0, result.overlap1) == ("s#a#b", 0.25, 0.75)
    assert (result.rotation_error_deg, result.translation_error_deg, result.translation_error) == (1, 2, 0.5)
    assert (result.precision_before, result.num_right_before) == (0.25, 50)
    assert (result.precision_after, result.num_right_after) == (0.75, 30)
    assert result.pose_error_deg == 2
    assert (second[0].precision_after, second[0].num_right_after, second[0].pose_error_deg) == (0, 0, 3)


def test_reports_have_no_infinity() -> None:
    pairs = [pair_of(view(0), None)]
    rows = rows_of((np.inf, np.inf, np.inf, 3, 3, 0, 0), (1.5, 2.5, 0.5, 3, 3, 2, 2))
    (found,) = pair_scores(pairs, rows)
    assert (found.image0, found.image1, found.overlap, found.num_matches) == ("0.png", "1.png", None, 3)
    assert found.rotation_errors_deg == [None, 1.5]
    assert found.translation_errors_deg == [None, 2.5]
    assert found.num_inliers == [0, 2]


def test_pairs_without_a_known_overlap_are_in_no_bin() -> None:
    rows = np.concatenate([rows_of((1, 2, 0.5, 200, 50, 40, 30))] * 3)
    pairs = [pair_of(view(seed), overlap) for seed, overlap in enumerate((None, 0.34, None))]
    (run,) = posed_results(pairs, rows)
    assert [result.identifier for result in run] == ["0.png#1.png"] * 3
    assert np.isnan([result.overlap0 for result in run]).tolist() == [True, False, True]
    found = score_results("posed", [run])
    assert (found.num_pairs, [(item.low, item.num_pairs) for item in found.bins]) == (3, [(0.3, 1)])
