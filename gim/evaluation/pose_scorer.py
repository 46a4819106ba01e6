"""Scores correspondences by the relative pose they lead to, under a protocol; and what that says, pair by pair."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gim import keys
from gim.benchmarks.posed import PosedPair
from gim.benchmarks.zeb import ZebPair
from gim.evaluation.pose import estimate_pose, pose_errors
from gim.evaluation.protocols import PoseProtocol
from gim.evaluation.results_file import RIGHT_BELOW, PairResult
from gim.evaluation.views import Views
from gim.geometry.epipolar import essential_from_pose, squared_symmetric_epipolar_distance
from gim.geometry.pixels import PixelMap
from gim.records import BoolArray, Float32Array, Float64Array


class Column(IntEnum):
    """What the numbers of a pair are."""

    ROTATION_DEG = 0  # infinite without a pose, as the next two
    TRANSLATION_DEG = 1
    TRANSLATION = 2
    NUM_MATCHES = 3
    NUM_RIGHT_MATCHES = 4
    NUM_INLIERS = 5
    NUM_RIGHT_INLIERS = 6


@dataclass(frozen=True, slots=True)
class PairScore:
    """What became of one pair, as reports have it: one number for each seed."""

    image0: str
    image1: str
    overlap: float | None  # as the benchmark states it
    num_matches: int
    num_inliers: list[int]
    rotation_errors_deg: list[float | None]  # None: no pose was found
    translation_errors_deg: list[float | None]


@dataclass(frozen=True, slots=True, eq=False)
class PoseScorer:
    """Estimates the pose of every pair, once for each seed of the protocol."""

    id: str
    pairs: Sequence[PosedPair | ZebPair]
    protocol: PoseProtocol
    scales: Float64Array | None = None  # [num_pairs, 4] of x0, y0, x1, y1 to where a pixel is one of the protocol's

    def score(self, pair: int, points: Float32Array) -> Float64Array:
        """Numbers [num_seeds, 7] of a pair, see `Column`; one row where the protocol has no seeds."""
        truth = self.pairs[pair]
        is_right = right_matches(points, truth.K0, truth.K1, truth.T_0to1)
        rows = []
        fitted, K0, K1 = self._in_its_pixels(pair, points)
        for seed in self.protocol.seeds or (0,):
            estimate = estimate_pose(fitted, K0, K1, self.protocol, seed)
            errors = pose_errors(estimate, truth.T_0to1, self.protocol)
            inliers = np.zeros(len(points), bool) if estimate is None else estimate.inliers
            rows.append(
                [
                    errors.rotation_deg,
                    errors.translation_deg,
                    errors.translation,
                    len(points),
                    np.count_nonzero(is_right),
                    np.count_nonzero(inliers),
                    np.count_nonzero(is_right & inliers),
                ]
            )
        return np.array(rows, np.float64)

    def _in_its_pixels(self, pair: int, points: Float32Array) -> tuple[Float32Array, Float64Array, Float64Array]:
        """Correspondences and intrinsics in the pixels that the protocol's threshold is in."""
        truth = self.pairs[pair]
        if self.scales is None:
            return points, truth.K0, truth.K1
        map0, map1 = (PixelMap.scaling(x, y) for x, y in self.scales[pair].reshape(2, 2).tolist())
        fitted = np.hstack([map0.apply(points[:, :2]), map1.apply(points[:, 2:])])
        return fitted, map0.apply_to_intrinsics(truth.K0), map1.apply_to_intrinsics(truth.K1)


def pose_scorer(pairs: Sequence[PosedPair | ZebPair], protocol: PoseProtocol, views: Views | None = None) -> PoseScorer:
    """The scorer of pairs with known cameras.

    Args:
        pairs: what is true of each.
        protocol: one that says how large images are matched has its threshold in pixels of that size.
        views: of the same pairs, to know that size by; None: images are matched as they are given.

    Raises:
        InvalidInput: an image cannot be read.
    """
    truth = hashlib.sha256()
    for pair in pairs:
        for matrix in (pair.K0, pair.K1, pair.T_0to1):
            truth.update(matrix.tobytes())
    scales = None
    if protocol.longest_side is not None and views is not None:
        of_image = {name: views.scale(name) for name in {name for names in views.pairs for name in names}}
        scales = np.array([(*of_image[name0], *of_image[name1]) for name0, name1 in views.pairs], np.float64)
        truth.update(scales.tobytes())
    return PoseScorer(keys.config_id(protocol.id, protocol, truth.hexdigest()), pairs, protocol, scales)


def right_matches(points: Float32Array, K0: Float64Array, K1: Float64Array, T_0to1: Float64Array) -> BoolArray:
    """Whether each correspondence [N, 4] lies near its epipolar lines, as the original's precision has it."""
    scale = np.concatenate([K0[[0, 1], [0, 1]], K1[[0, 1], [0, 1]]])
    centre = np.concatenate([K0[[0, 1], [2, 2]], K1[[0, 1], [2, 2]]])
    rays = (np.asarray(points, np.float64) - centre) / scale
    E01 = essential_from_pose(T_0to1)
    if not E01.any():  # without a baseline there are no epipolar lines, and every match would lie on its own
        return np.zeros(len(rays), bool)
    return np.asarray(squared_symmetric_epipolar_distance(rays, E01) < RIGHT_BELOW)


def pair_results(
    names: Sequence[str], overlaps: Sequence[tuple[float, float]], rows: Float64Array
) -> list[list[PairResult]]:
    """The results of each seed, pair by pair.

    Args:
        names: identifiers of the pairs.
        overlaps: covisible shares of both images, NaN where they are not known.
        rows: float64 [num_pairs, num_seeds, 7] of `PoseScorer.score`.
    """
    return [
        [
            PairResult(
                identifier=name,
                overlap0=overlap0,
                overlap1=overlap1,
                rotation_error_deg=float(row[Column.ROTATION_DEG]),
                translation_error_deg=float(row[Column.TRANSLATION_DEG]),
                translation_error=float(row[Column.TRANSLATION]),
                precision_before=_share(row[Column.NUM_RIGHT_MATCHES], row[Column.NUM_MATCHES]),
                num_right_before=int(row[Column.NUM_RIGHT_MATCHES]),
                precision_after=_share(row[Column.NUM_RIGHT_INLIERS], row[Column.NUM_INLIERS]),
                num_right_after=int(row[Column.NUM_RIGHT_INLIERS]),
            )
            for name, (overlap0, overlap1), row in zip(names, overlaps, of_seed, strict=True)
        ]
        for of_seed in np.swapaxes(rows, 0, 1)
    ]


def pair_scores(pairs: Sequence[PosedPair], rows: Float64Array) -> list[PairScore]:
    """The same for reports.

    Args:
        pairs: the benchmark's.
        rows: float64 [num_pairs, num_seeds, 7] of `PoseScorer.score`.
    """
    return [
        PairScore(
            image0=pair.image0,
            image1=pair.image1,
            overlap=pair.overlap,
            num_matches=int(row[0, Column.NUM_MATCHES]),
            num_inliers=row[:, Column.NUM_INLIERS].astype(int).tolist(),
            rotation_errors_deg=_finite(row[:, Column.ROTATION_DEG]),
            translation_errors_deg=_finite(row[:, Column.TRANSLATION_DEG]),
        )
        for pair, row in zip(pairs, rows, strict=True)
    ]


def posed_results(pairs: Sequence[PosedPair], rows: Float64Array) -> list[list[PairResult]]:
    """`pair_results` of pairs that have no identifier but their images."""
    names = [f"{pair.image0}#{pair.image1}" for pair in pairs]
    overlaps = [np.nan if pair.overlap is None else pair.overlap for pair in pairs]
    return pair_results(names, [(overlap, overlap) for overlap in overlaps], rows)


def _finite(values: Float64Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
