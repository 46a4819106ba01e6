"""Scores correspondences by the homography they lead to, under a protocol."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gim import keys
from gim.benchmarks.homography_pairs import PlanePair
from gim.evaluation.homography import corner_error_px, estimate_homography, pixel_size
from gim.evaluation.homography_protocols import HomographyProtocol
from gim.geometry.homography import transfer_distance_px
from gim.records import Float32Array, Float64Array


class Column(IntEnum):
    """What the numbers of a pair are."""

    CORNER_ERROR_PX = 0  # infinite without a homography
    NUM_MATCHES = 1
    NUM_RIGHT_MATCHES = 2
    NUM_INLIERS = 3
    NUM_RIGHT_INLIERS = 4


@dataclass(frozen=True, slots=True, eq=False)
class HomographyScorer:
    """Estimates the homography of every pair, once for each seed of the protocol."""

    id: str
    pairs: Sequence[PlanePair]
    protocol: HomographyProtocol

    def score(self, pair: int, points: Float32Array) -> Float64Array:
        """Numbers [num_seeds, 5] of a pair, see `Column`; one row where the protocol has no seeds.

        A match is right within the protocol's threshold of where the true homography takes it.
        """
        truth = self.pairs[pair]
        pixel = pixel_size(truth, self.protocol)
        is_right = transfer_distance_px(points, truth.H01) < self.protocol.threshold_px * pixel
        rows = []
        for seed in self.protocol.seeds or (0,):
            estimate = estimate_homography(points, self.protocol, pixel=pixel, seed=seed)
            inliers = np.zeros(len(points), bool) if estimate is None else estimate.inliers
            rows.append(
                [
                    corner_error_px(estimate, truth, self.protocol),
                    len(points),
                    np.count_nonzero(is_right),
                    np.count_nonzero(inliers),
                    np.count_nonzero(is_right & inliers),
                ]
            )
        return np.array(rows, np.float64)


def homography_scorer(pairs: Sequence[PlanePair], protocol: HomographyProtocol) -> HomographyScorer:
    """The scorer of pairs with known homographies."""
    truth = hashlib.sha256()
    for pair in pairs:
        truth.update(pair.H01.tobytes() + np.array([pair.size0, pair.size1], np.int64).tobytes())
    return HomographyScorer(keys.config_id(f"h-{protocol.id}", protocol, truth.hexdigest()), pairs, protocol)


def precision_percent(rows: Float64Array) -> tuple[float, float]:
    """Mean shares over pairs and seeds of matches that are right, and of inliers; 0 counts where there are none.

    Args:
        rows: float64 [num_pairs, num_seeds, 5] of `HomographyScorer.score`.
    """
    before = _shares(rows[..., Column.NUM_RIGHT_MATCHES], rows[..., Column.NUM_MATCHES])
    after = _shares(rows[..., Column.NUM_RIGHT_INLIERS], rows[..., Column.NUM_INLIERS])
    return 100 * float(before.mean()), 100 * float(after.mean())


def _shares(part: Float64Array, whole: Float64Array) -> Float64Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
