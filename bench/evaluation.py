"""The evaluator: metrics of cached results, poses by its threads beside a plain loop, both solvers, a profile."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np

from bench.findings import Findings, say
from bench.machine import machine_facts
from bench.metric_pass import measure_metrics
from bench.pair_profile import SCENES, measure_profile
from bench.planted import KnownRows, KnownViews, PlantedMatcher
from bench.workspace import Workspace
from gim.adapters.store_file import FileStore
from gim.benchmarks.posed import PosedPair, read_posed_pairs
from gim.evaluation.image_size import SizeRule
from gim.evaluation.passes import Evaluation
from gim.evaluation.pose_scorer import PoseScorer, pose_scorer, posed_results
from gim.evaluation.protocols import PoseProtocol, protocol_named
from gim.evaluation.scores import score_results
from gim.evaluation.views import folder_views
from gim.geometry.pose import as_pose
from gim.matchers.registry import load_matcher
from gim.records import Float32Array
from gim.runtime.threads import one_thread_each

PARTS = ("metrics", "poses", "solvers", "profile")
LEAST_RATIO = 1.8  # of two cores
_EVERY = {"kitti06": 1, "fox": 2}  # pair: features of its large images take a minute
_MOST_BLOCKS = 3  # both sides take turns, for a machine that slows down
_LEAST_OF_BLOCK = 50  # pairs: at the end of a block threads wait for the last


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Times of the second pass, and what solvers cost and score."""
    findings = Findings("evaluation")
    measures = (measure_metrics, _measure_poses, _measure_solvers, measure_profile)
    for part, measure_part in zip(PARTS, measures, strict=True):
        if part in parts:
            measure_part(findings, workspace)
    return findings


@dataclass(frozen=True, slots=True)
class Matched:
    """A pair with known cameras and what was found of it."""

    pair: PosedPair
    points: Float32Array


def _measure_poses(findings: Findings, workspace: Workspace) -> None:
    real = _real_matches(workspace, "kitti06")
    cores = machine_facts()["cores"]
    for name, number in (("gim", workspace.chosen(quick=100, normal=1000)), ("strict", workspace.chosen(20, 100))):
        num_real = number // 4 if real else 0
        pairs = [synthetic_pair(seed) for seed in range(number - num_real)]
        pairs += [real[place % len(real)] for place in range(num_real)]
        shuffled = [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))]
        say(f"{number} poses by {name}")
        plain, ours = _times_of_both(workspace, shuffled, protocol_named(name))
        what = f"poses of {number} pairs by {name}"
        findings.tell(f"{what}, plain loop in one process", f"{plain:.1f} s")
        findings.at_least(f"{what}: times as fast on {cores} cores, equal numbers", plain / ours, LEAST_RATIO, "x")


def _times_of_both(workspace: Workspace, pairs: Sequence[Matched], protocol: PoseProtocol) -> tuple[float, float]:
    """Seconds of a plain loop and of the runner, which reads matches from a store and keeps scores there."""
    plain = ours = 0.0
    cores = machine_facts()["cores"]
    with closing(FileStore(workspace.folder / f"poses-{protocol.name}")) as store:
        num_blocks = max(min(_MOST_BLOCKS, len(pairs) // _LEAST_OF_BLOCK), 1)
        for block in range(num_blocks):
            some = pairs[block::num_blocks]
            scorer = pose_scorer([item.pair for item in some], protocol)
            evaluation = _kept(store, f"block{block}", some, scorer)
            started = time.perf_counter()
            expected = np.stack([scorer.score(place, item.points) for place, item in enumerate(some)])
            plain += time.perf_counter() - started
            with one_thread_each(), ThreadPoolExecutor(cores) as executor:
                started = time.perf_counter()
                num_matched = evaluation.run(executor)
                rows = evaluation.rows()
                ours += time.perf_counter() - started
            if num_matched or rows is None or not np.array_equal(rows, expected):
                raise SystemExit(f"{protocol.name}: the runner's numbers are not those of the plain loop")
    return plain, ours


def _kept(store: FileStore, name: str, pairs: Sequence[Matched], scorer: PoseScorer) -> Evaluation:
    """An evaluation whose matches are in the store, and no score yet."""
    views = KnownViews(f"{name}-00000000", [(str(place), "") for place in range(len(pairs))])
    nothing = KnownRows("nothing-00000000", np.zeros((len(pairs), 1, 1)))
    with ThreadPoolExecutor(1) as executor:
        Evaluation(store, views, nothing, PlantedMatcher([item.points for item in pairs])).run(executor)
    return Evaluation(store, views, scorer, PlantedMatcher([]))


def synthetic_pair(seed: int) -> Matched:
    """A scene in space, 100 to 500 matches with 0.2 px of noise; 10 to 40 % of them lie anywhere."""
    rng = np.random.default_rng([seed, 17])
    number = int(rng.integers(100, 500))
    K = np.array([[700.0, 0, 500], [0, 700, 350], [0, 0, 1]])
    t = rng.normal(0, 1, 3)
    T_0to1 = as_pose(np.column_stack([cv2.Rodrigues(rng.normal(0, 0.1, 3))[0], t / np.linalg.norm(t)]))
    x0 = rng.uniform((0, 0), (1000, 700), (number, 2))
    seen0 = np.column_stack([x0, np.ones(number)]) @ np.linalg.inv(K).T * rng.uniform(4, 25, (number, 1))
    seen1 = (seen0 @ T_0to1[:3, :3].T + T_0to1[:3, 3]) @ K.T
    points = np.column_stack([x0, seen1[:, :2] / seen1[:, 2:]]) + rng.normal(0, 0.2, (number, 4))
    is_wrong = rng.random(number) < rng.uniform(0.1, 0.4)
    points[is_wrong, 2:] = rng.uniform((0, 0), (1000, 700), (np.count_nonzero(is_wrong), 2))
    return Matched(PosedPair("0", "1", K, K, T_0to1), points.astype(np.float32))


def _real_matches(workspace: Workspace, scene: str) -> list[Matched]:
    """RootSIFT's on a scene of the sample data, matched once per bench run; none where it is not there."""
    folder = workspace.data / "posed" / scene
    if not folder.is_dir():
        return []
    every = workspace.chosen(quick=5, normal=_EVERY[scene], full=1)
    pairs = read_posed_pairs(folder / "pairs.txt")[::every]
    views = folder_views(scene, folder, [(pair.image0, pair.image1) for pair in pairs], SizeRule())
    nothing = KnownRows("nothing-00000000", np.zeros((len(pairs), 1, 1)))
    say(f"rootsift on {scene}")
    with closing(FileStore(workspace.folder / "real")) as store:
        evaluation = Evaluation(store, views, nothing, load_matcher("rootsift"))
        with one_thread_each(), ThreadPoolExecutor(machine_facts()["cores"]) as executor:
            evaluation.run(executor)
        return [Matched(*both) for both in zip(pairs, evaluation.predictions(), strict=True)]


def _measure_solvers(findings: Findings, workspace: Workspace) -> None:
    rows = []
    for scene in SCENES:
        matched = _real_matches(workspace, scene)
        if not matched:
            continue
        for protocol in map(protocol_named, ("gim", "strict")):
            say(f"{protocol.name} on {scene}")
            scorer = pose_scorer([item.pair for item in matched], protocol)
            with one_thread_each():
                started = time.thread_time()
                found = np.stack([scorer.score(place, item.points) for place, item in enumerate(matched)])
                milliseconds = 1e3 * (time.thread_time() - started) / len(matched)
            score = score_results(scene, posed_results([item.pair for item in matched], found))
            num_runs = max(len(protocol.seeds), 1)
            rows.append(
                (
                    f"{scene} ({len(matched)} pairs)",
                    protocol.name,
                    protocol.solver,
                    milliseconds,
                    milliseconds / num_runs,
                    *score.auc.values(),
                    score.spread["5"] if num_runs > 1 else None,
                )
            )
    columns = ("scene", "protocol", "solver", "ms a pair", "a run", "@5 deg", "@10", "@20", "spread @5 over seeds")
    findings.add("poses from the same RootSIFT matches at full size, one thread", columns, rows)
