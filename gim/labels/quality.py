"""How good one training pair is, in numbers a user can filter on."""

import numpy as np

from gim.geometry.epipolar import symmetric_epipolar_distance_px
from gim.geometry.homography import transfer_distance_px
from gim.geometry.robust import fit_homography
from gim.records import Float32Array, Float64Array, PairQuality

GRID = 8  # cells a side


def coverage(points: Float32Array, width: int, height: int) -> float:
    """Share of the cells of an 8 x 8 grid over an image that hold a point.

    Args:
        points: float32 [N, 2] pixels.
        width: of the image, pixels.
        height: of the image, pixels.
    """
    if not len(points):
        return 0.0
    # The image spans [-0.5, size - 0.5) when pixel centres are whole numbers.
    cells = np.floor((points + 0.5) * (GRID / width, GRID / height)).astype(np.int64).clip(0, GRID - 1)
    return len(np.unique(cells[:, 1] * GRID + cells[:, 0])) / GRID**2


def median_displacement_px(points: Float32Array) -> float:
    """Median distance a correspondence [N, 4] moves between the images, pixels; 0 for none."""
    return float(np.median(np.hypot(*(points[:, 2:] - points[:, :2]).T))) if len(points) else 0.0


def median_parallax_px(points: Float32Array) -> float:
    """Median residual to the homography that fits best: what neither a plane nor a turning camera explains.

    Without any homography the displacement itself is returned.
    """
    fit = fit_homography(points)
    if fit is None:
        return median_displacement_px(points)
    return float(np.median(transfer_distance_px(points, fit.H01)))


def assess_pair(
    points: Float32Array,
    F01: Float64Array,
    *,
    width: int,
    height: int,
    interval_frames: int,
    interval_seconds: float,
    num_links: int,
    guided_share: float,
    confirmed_share: float,
    num_matchers: int,
) -> PairQuality:
    """All quality fields of one pair.

    Args:
        points: float32 [N, 4] correspondences, pixels, N > 0.
        F01: float64 [3, 3] fitted to them.
        width: of both images, pixels.
        height: of both images, pixels.
        interval_frames: between the frames.
        interval_seconds: between the frames.
        num_links: joins on the way.
        guided_share: of the correspondences.
        confirmed_share: of the correspondences.
        num_matchers: whose labels entered.
    """
    return PairQuality(
        num_correspondences=len(points),
        interval_frames=interval_frames,
        interval_seconds=round(interval_seconds, 6),
        num_links=num_links,
        guided_share=round(guided_share, 4),
        confirmed_share=round(confirmed_share, 4),
        coverage=min(coverage(points[:, :2], width, height), coverage(points[:, 2:], width, height)),
        median_displacement_px=round(median_displacement_px(points), 3),
        median_parallax_px=round(median_parallax_px(points), 3),
        epipolar_residual_px=round(float(np.median(symmetric_epipolar_distance_px(points, F01))), 4),
        num_matchers=num_matchers,
    )
