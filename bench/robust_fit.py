"""Which robust estimator, which numbers: measured on real matches of posed images and on synthetic outlier mixes.

    python bench/robust_fit.py [--data ../shared/data] [--every 2]

"found" is the share of the right matches (within 1 px of the true epipolar geometry) that are kept, "worst tenth" its
10th percentile over pairs; "< 1 px" and "< 2 px" are the shares of the kept ones that are so near the truth; "other
seeds" is the spread of "found" over three seeds. Times are processor time of one thread.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from posed import known_pairs

from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.pose import as_pose
from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.records import BoolArray, Float32Array

_DEFAULT = RobustFitConfig()
_VARIANTS = {
    "default": _DEFAULT,
    "magsac 0.5 px": replace(_DEFAULT, threshold_px=0.5),
    "magsac 1.5 px": replace(_DEFAULT, threshold_px=1.5),
    "magsac 2,000 samples": replace(_DEFAULT, max_iterations=2_000),
    "magsac 10,000 samples": replace(_DEFAULT, max_iterations=10_000),
    "magsac 100,000 samples": replace(_DEFAULT, max_iterations=100_000),
    "poselib 0.5 px": replace(_DEFAULT, estimator="poselib", threshold_px=0.5),
    "poselib 1 px": replace(_DEFAULT, estimator="poselib"),
    "original: 0.5 px, 100,000": replace(_DEFAULT, threshold_px=0.5, max_iterations=100_000),
}
_SYNTHETIC = {"general": (0.3, 0.5, 0.7, 0.8), "mostly plane": (0.5, 0.7), "plane": (0.5,), "rotation": (0.5,)}


@dataclass(frozen=True, slots=True)
class Case:
    """Matches, how far each is from the truth, and which are right."""

    scene: str
    points: Float32Array
    distance_px: np.ndarray
    is_right: BoolArray


def real_cases(data: Path, every: int) -> list[Case]:
    """RootSIFT matches of the posed pairs."""
    matcher = RootSift(RootSiftConfig())
    cases = []
    for pair in known_pairs(data, every=every):
        if pair.F01 is None:
            continue
        points = matcher.match(pair.image0, pair.image1).points
        distance = pair.distance_px(points)
        if np.count_nonzero(distance < 1) >= 15:
            cases.append(Case(pair.scene.split()[0], points, distance, distance < 1))
    return cases


def synthetic_cases(scene: str, outlier_share: float, num: int = 8) -> list[Case]:
    """Pairs of 500 matches with 0.3 px of noise; wrong ones lie anywhere in image 1."""
    return [
        _synthetic_case(np.random.default_rng([seed, int(100 * outlier_share)]), scene, outlier_share)
        for seed in range(num)
    ]


def _synthetic_case(rng: np.random.Generator, scene: str, outlier_share: float, num: int = 500) -> Case:
    K = np.array([[700, 0, 500], [0, 700, 350], [0, 0, 1.0]])
    R = cv2.Rodrigues(rng.normal(0, 0.06, 3))[0]
    t = rng.normal(0, 1, 3)
    t *= (0.0 if scene == "rotation" else 0.5) / np.linalg.norm(t)
    x0 = rng.uniform((20, 20), (980, 680), (num, 2))
    rays = np.column_stack([x0, np.ones(num)]) @ np.linalg.inv(K).T
    depth = 6 / (rays @ (0.2, 0.1, 1.0)) if "plane" in scene else rng.uniform(3, 20, num)
    if scene == "mostly plane":
        depth[: num // 7] *= rng.uniform(0.4, 0.9, num // 7)
    x1 = ((rays * depth[:, None]) @ R.T + t) @ K.T
    points = np.column_stack([x0, x1[:, :2] / x1[:, 2:]]) + rng.normal(0, 0.3, (num, 4))
    is_wrong = rng.random(num) < outlier_share
    points[is_wrong, 2:] = rng.uniform((0, 0), (1000, 700), (np.count_nonzero(is_wrong), 2))
    F01 = fundamental_from_pose(K, K, as_pose(np.column_stack([R, t])))
    distance = np.where(is_wrong, np.inf, symmetric_epipolar_distance_px(points, F01))
    return Case(f"{scene} {outlier_share:.0%} wrong", points.astype(np.float32), distance, ~is_wrong)


def measure(cases: Sequence[Case], config: RobustFitConfig, seeds: Sequence[int] = (0, 1, 2)) -> str:
    """One row of the table."""
    found, kept, near1, near2 = [], [], [], []
    started = time.thread_time()
    fits = [[fit_fundamental(case.points, config, seed=seed) for seed in seeds] for case in cases]
    milliseconds = (time.thread_time() - started) * 1e3 / (len(cases) * len(seeds))
    for case, of_seeds in zip(cases, fits, strict=True):
        masks = [np.zeros(len(case.points), bool) if fit is None else fit.inliers for fit in of_seeds]
        found.append([mask[case.is_right].mean() for mask in masks])
        kept.append(np.mean([mask.sum() for mask in masks]))
        near1 += [(case.distance_px[mask] < 1).mean() for mask in masks if mask.any()]
        near2 += [(case.distance_px[mask] < 2).mean() for mask in masks if mask.any()]
    per_case = np.mean(found, axis=1)
    return (
        f"{milliseconds:7.1f} {np.mean(kept):7.0f} {np.mean(per_case):8.3f} {np.quantile(per_case, 0.1):8.3f} "
        f"{np.mean(near1):8.3f} {np.mean(near2):8.3f} {np.mean(np.std(found, axis=1)):8.4f}"
    )


def table(title: str, cases: Sequence[Case]) -> None:
    """Every variant on the same cases."""
    print(f"\n{title} ({len(cases)} pairs)")
    print(f"{'':28}{'ms':>7} {'kept':>7} {'found':>8} {'worst10%':>8} {'< 1 px':>8} {'< 2 px':>8} {'seeds':>8}")
    for name, config in _VARIANTS.items():
        print(f"{name:28}{measure(cases, config)}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--every", type=int, default=2, help="use every n-th posed pair")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.data.is_dir():
        table("real matches, truth from poses", real_cases(arguments.data, arguments.every))
    for scene, outlier_shares in _SYNTHETIC.items():
        for outlier_share in outlier_shares:
            table(f"synthetic: {scene}, {outlier_share:.0%} wrong", synthetic_cases(scene, outlier_share))


if __name__ == "__main__":
    main()
