"""How right the matchers are on pairs of known geometry: relative pose, and homography."""

from collections.abc import Iterator, Sequence
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
from gim.geometry.pose import rotation_error_deg, translation_error_deg
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.records import Correspondences, ImagePair, Uint8Array

PARTS = ("pose", "homography", "precision")
POSE_THRESHOLDS_DEG = (5, 10, 20)
CORNER_THRESHOLDS_PX = (3, 5, 10)
SIFT_FLOOR = {"kitti06": (88.3, 93.2, 95.6), "fox": (60.2, 68.9, 74.0)}  # the sample data's README
_FIT_PX = 1.0  # of the essential matrix, as for the floor
_PLANE_PX = 3.0

PosedPair = tuple[ImagePair, Any, Any, Any]  # with K0, K1, T_0to1


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Scores of the matchers that have trained weights among the sample data."""
    findings = Findings("accuracy")
    every = workspace.chosen(quick=5, normal=1)
    posed = {scene: list(_posed(workspace.data / "posed" / scene))[::every] for scene in SIFT_FLOOR}
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
            errors, counts = _pose_errors(matcher, pairs)
            scores = [100 * score for score in error_auc(errors, POSE_THRESHOLDS_DEG)]
            rows.append((matcher.name, scene, len(pairs), *scores, float(np.median(counts))))
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
    """What half the bits cost; speed is the other bench's.

    On the drive only: of the hard pairs of the fox one more or less found by chance moves the score by more than asked.
    """
    pairs = list(_posed(workspace.data / "posed/kitti06"))[:: workspace.chosen(quick=3, normal=1)]
    for exact in matchers(workspace, trained_only=True):
        if exact.is_batched:
            say(f"bfloat16 of {exact.name}")
            half = load(exact.name, workspace, ModelResources(InferenceConfig(precision="bfloat16")))
            scores = [error_auc(_pose_errors(matcher, pairs)[0], POSE_THRESHOLDS_DEG) for matcher in (exact, half)]
            lost = 100 * float(np.subtract(*scores)[0])
            findings.at_most(f"{exact.name}: pose AUC@5 lost by bfloat16, {len(pairs)} pairs", lost, 0.5)


def _posed(folder: Path) -> Iterator[tuple[ImagePair, Any, Any, Any]]:
    for names, K0, K1, T_0to1 in posed_rows(folder):
        yield ImagePair(*(read_rgb(folder / name) for name in names)), K0, K1, T_0to1


def _planes(folder: Path) -> Iterator[tuple[ImagePair, Any]]:
    for names, H01 in plane_rows(folder):
        yield ImagePair(*(read_rgb(folder / name) for name in names)), H01


def read_rgb(path: Path) -> Uint8Array:
    """An image file as RGB [H, W, 3]."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


def _pose_errors(matcher: Matcher, pairs: Sequence[tuple[ImagePair, Any, Any, Any]]) -> tuple[list[float], list[int]]:
    errors, counts = [], []
    for pair, K0, K1, T_0to1 in pairs:
        (found,) = matcher.match_pairs([pair])
        counts.append(len(found.points))
        errors.append(_pose_error_deg(found, K0, K1, T_0to1))
    return errors, counts


def _pose_error_deg(found: Correspondences, K0: Any, K1: Any, T_0to1: Any) -> float:
    if len(found.points) < 5:
        return np.inf
    cameras = [
        {"model": "PINHOLE", "width": 1, "height": 1, "params": [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]} for K in (K0, K1)
    ]
    rows = found.points.astype(np.float64)
    options = {"max_epipolar_error": _FIT_PX, "success_prob": 0.99999, "max_iterations": 20_000, "seed": 0}
    pose, _ = poselib.estimate_relative_pose(rows[:, :2], rows[:, 2:], *cameras, options, {})
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = pose.R, pose.t
    direction = translation_error_deg(T[:3, 3], T_0to1[:3, 3])
    return max(rotation_error_deg(T[:3, :3], T_0to1[:3, :3]), min(direction, 180 - direction))


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
