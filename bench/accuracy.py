"""How right the matchers are on pairs of known geometry: relative pose, and homography."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import poselib

from bench.findings import Findings, say
from bench.known_matchers import load, matchers
from bench.posed import plane_rows, posed_rows
from bench.workspace import Workspace
from gim.evaluation.auc import error_auc
from gim.evaluation.pose import estimate_pose, pose_errors
from gim.evaluation.protocols import protocol_named
from gim.evaluation.scores import THRESHOLDS_DEG
from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.matchers.network import ModelResources
from gim.records import Correspondences, Features, ImagePair, Uint8Array

PARTS = ("pose", "homography", "precision")
# PoseLib's LO-RANSAC with its own end: quicker than `strict`, which is what `gim evaluate` goes by.
PROTOCOL = replace(protocol_named("strict"), name="lo-ransac", max_iterations=20_000, is_fixed_length=False)
CORNER_THRESHOLDS_PX = (3, 5, 10)
SIFT_FLOOR = {"kitti06": (88.3, 93.2, 95.6), "fox": (60.2, 68.9, 74.0)}  # the sample data's README
_FIT_PX = PROTOCOL.threshold_px  # as for the floor
MOST_AUC_LOST, MOST_RIGHT_LOST_PERCENT = 0.5, 0.5  # by half precision
_NUM_DRAWS = 5  # of the robust fit, where precisions are compared
_PLANE_PX = 3.0

PosedPair = tuple[ImagePair, Any, Any, Any]  # with K0, K1, T_0to1


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Scores of the matchers that have trained weights among the sample data."""
    findings = Findings("accuracy")
    every = workspace.chosen(quick=5, normal=1)
    posed = {scene: list(posed_pairs(workspace.data / "posed" / scene))[::every] for scene in SIFT_FLOOR}
    if "pose" in parts:
        _measure_pose(findings, workspace, posed, is_whole=every == 1)
    if "homography" in parts:
        _measure_homography(findings, workspace)
    if "precision" in parts:
        _measure_precision(findings, workspace)
    return findings


def _measure_pose(
    findings: Findings, workspace: Workspace, posed: dict[str, list[PosedPair]], *, is_whole: bool
) -> None:
    rows = []
    for matcher in matchers(workspace, trained_only=True):
        for scene, pairs in posed.items():
            say(f"{matcher.name} on {scene}")
            scores, num_matches = pose_auc(matcher, pairs)
            rows.append((matcher.name, scene, len(pairs), *scores, num_matches))
            if matcher.name == "rootsift" and is_whole:
                floor = SIFT_FLOOR[scene]
                findings.claim(
                    f"rootsift on {scene}: pose AUC@5/10/20 at or above the SIFT floor",
                    "/".join(f"{value:g}" for value in floor),
                    "/".join(f"{value:.1f}" for value in scores),
                    all(score >= value for score, value in zip(scores, floor, strict=True)),
                )
    columns = ("matcher", "scene", "pairs", "@5 deg", "@10", "@20", "matches")
    findings.add("relative pose: AUC of the larger of rotation and translation error", columns, rows)


def _measure_homography(findings: Findings, workspace: Workspace) -> None:
    planes = list(_planes(workspace.data / "homography"))
    rows = []
    for matcher in matchers(workspace, trained_only=True):
        say(f"{matcher.name} on planes")
        errors = [_corner_error(matcher, *pair) for pair in planes]
        rows.append((matcher.name, *(100 * score for score in error_auc(errors, CORNER_THRESHOLDS_PX))))
    title = f"homography of {len(planes)} pairs: AUC of the mean corner error"
    findings.add(title, ("matcher", "@3 px", "@5", "@10"), rows)


def _measure_precision(findings: Findings, workspace: Workspace) -> None:
    """What half the bits cost; speed is the other bench's. On the drive, all of it: see `half_precision_losses`."""
    pairs = list(posed_pairs(workspace.data / "posed/kitti06"))
    for exact in matchers(workspace, trained_only=True):
        if exact.is_batched:
            say(f"{exact.name} in half precision")
            half = load(exact.name, workspace, ModelResources(InferenceConfig(precision="bfloat16")))
            auc, right = half_precision_losses(exact, half, pairs)
            findings.at_most(f"{exact.name}: pose AUC@5 lost by bfloat16, {len(pairs)} pairs", auc, MOST_AUC_LOST)
            findings.at_most(
                f"{exact.name}: matches within {_FIT_PX:g} px lost by bfloat16, %", right, MOST_RIGHT_LOST_PERCENT
            )


def half_precision_losses(exact: Matcher, half: Matcher, pairs: Sequence[PosedPair]) -> tuple[float, float]:
    """How much of the pose AUC@5, and what percentage of the right matches, one matcher has less than another.

    A pair's error is the median over several draws of the robust fit, for one hard pair in fifty that is solved by
    chance is worth more than what is looked for. Matches are right by the true pose, which needs no draw.
    """
    scores, num_right = [], []
    for matcher in (exact, half):
        found = list(_matched(matcher, [pair for pair, *_ in pairs]))
        errors = [_median_pose_error_deg(item, *truth) for item, (_, *truth) in zip(found, pairs, strict=True)]
        scores.append(100 * error_auc(errors, THRESHOLDS_DEG)[0])
        num_right.append(sum(_num_right(item, *truth) for item, (_, *truth) in zip(found, pairs, strict=True)))
    return scores[0] - scores[1], 100 * (1 - num_right[1] / num_right[0])


def _matched(matcher: Matcher, pairs: Sequence[ImagePair]) -> Iterator[Correspondences]:
    """The correspondences of each pair. Pairs of a scene share images, whose features are found once."""
    if not isinstance(matcher, SparseMatcher):
        for pair in pairs:
            yield from matcher.match_pairs([pair])
        return
    known: dict[bytes, Features] = {}
    for pair in pairs:
        features = []
        for image in (pair.image0, pair.image1):
            key = image.tobytes()
            if key not in known:
                known[key] = matcher.extract(image)
            features.append(known[key])
        yield correspondences_of(*features, *matcher.match_features(*features))


def posed_pairs(folder: Path) -> Iterator[PosedPair]:
    """The pairs of a scene of the sample data, images as RGB."""
    for names, K0, K1, T_0to1 in posed_rows(folder):
        yield ImagePair(*(read_rgb(folder / name) for name in names)), K0, K1, T_0to1


def _planes(folder: Path) -> Iterator[tuple[ImagePair, Any]]:
    for names, H01 in plane_rows(folder):
        yield ImagePair(*(read_rgb(folder / name) for name in names)), H01


def read_rgb(path: Path) -> Uint8Array:
    """An image file as RGB [H, W, 3]."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


def pose_auc(matcher: Matcher, pairs: Sequence[PosedPair]) -> tuple[list[float], float]:
    """AUC of the pose error in percent, for each of `THRESHOLDS_DEG`, and the median number of matches."""
    found = list(_matched(matcher, [pair for pair, *_ in pairs]))
    counts = [len(item.points) for item in found]
    errors = [_pose_error_deg(item, *truth) for item, (_, *truth) in zip(found, pairs, strict=True)]
    return [100 * score for score in error_auc(errors, THRESHOLDS_DEG)], float(np.median(counts))


def _pose_error_deg(found: Correspondences, K0: Any, K1: Any, T_0to1: Any, seed: int = 0) -> float:
    return pose_errors(estimate_pose(found.points, K0, K1, PROTOCOL, seed), T_0to1, PROTOCOL).pose_deg


def _median_pose_error_deg(found: Correspondences, K0: Any, K1: Any, T_0to1: Any) -> float:
    return float(np.median([_pose_error_deg(found, K0, K1, T_0to1, seed) for seed in range(_NUM_DRAWS)]))


def _num_right(found: Correspondences, K0: Any, K1: Any, T_0to1: Any) -> int:
    distance_px = symmetric_epipolar_distance_px(found.points, fundamental_from_pose(K0, K1, T_0to1))
    return int(np.count_nonzero(distance_px < _FIT_PX))


def _corner_error(matcher: Matcher, pair: ImagePair, H01: Any) -> float:
    (found,) = matcher.match_pairs([pair])
    if len(found.points) < 4:
        return np.inf
    rows = found.points.astype(np.float64)
    options = {"max_reproj_error": _PLANE_PX, "success_prob": 0.99999, "max_iterations": 20_000, "seed": 0}
    fitted, _ = poselib.estimate_homography(rows[:, :2], rows[:, 2:], options, {})
    height, width = pair.image0.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)[:, None]
    ours, truth = (cv2.perspectiveTransform(corners, matrix)[:, 0] for matrix in (fitted, H01))
    error = float(np.linalg.norm(ours - truth, axis=1).mean())
    return error if np.isfinite(error) else np.inf
