"""How a camera moves between the sampled frames of one shot, and why a shot is rejected.

Responsible for: sparse tracking between two small images, the motion of neighbouring samples, and the verdict on a
shot before any feature of a matcher is computed. Not for: where shots begin and end (`gim.video.shots`), nor which
pixels are burned in (`gim.video.overlay`).

The test for a still camera is the view, not the moving objects: a camera on a tripod shows the same place again after
whatever crossed the picture has gone, a camera that travels does not. So samples are grouped into views; what lies
between two samples of one view belongs to it. A shot is still when one view spans nearly all of it.

Turning and zooming cameras are NOT rejected: their correspondences are right, they only carry no parallax, and
every pair states its parallax (`PairQuality.median_parallax_px`).
"""

from array import array
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from gim.records import BoolArray, Float32Array, Uint8Array
from gim.video.config import MotionConfig

STATIC_CAMERA = "static_camera"  # the camera does not move, whatever moves before it
FREEZE = "freeze"  # the same picture again and again
SLIDES = "slides"  # frozen pictures broken by sudden changes
SCREEN_RECORDING = "screen_recording"  # flat graphics that scroll along the axes
BLANK = "blank"  # nothing to see: black, white, one colour
SHORT_SHOT = "short_shot"
TRANSITION = "transition"  # a fade or dissolve between two shots

_CORNER_STRENGTH = 2e-4  # smallest eigenvalue of the gradient matrix, OpenCV's scale: compression noise lies below
_BORDER_PX = 5
_LK_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)


def shrink(image: Uint8Array, long_side: int) -> Uint8Array:
    """Scale an image down so that its long side is at most `long_side` pixels.

    Args:
        image: uint8 [h, w].
        long_side: pixels.

    Returns:
        uint8, the image itself where it is small enough.
    """
    scale = long_side / max(image.shape)
    if scale >= 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def grid_corners(image: Uint8Array, cell_px: int) -> Float32Array:
    """Find the strongest corner of every cell of a grid, so that a textured object has no more votes than its area.

    Corners after Shi and Tomasi, "Good Features to Track" (CVPR 1994): smallest eigenvalue of the gradient matrix.

    Args:
        image: uint8 [h, w].
        cell_px: side of a cell.

    Returns:
        float32 [N, 2] pixels (x, y), at most one for a cell, none where a cell has no texture.
    """
    rows, columns = image.shape[0] // cell_px, image.shape[1] // cell_px
    if rows == 0 or columns == 0:
        return np.zeros((0, 2), np.float32)
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(image, (3, 3), 0), 5)
    strength[:_BORDER_PX] = strength[-_BORDER_PX:] = 0.0
    strength[:, :_BORDER_PX] = strength[:, -_BORDER_PX:] = 0.0
    blocks = strength[: rows * cell_px, : columns * cell_px].reshape(rows, cell_px, columns, cell_px)
    cells = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, cell_px * cell_px)
    best = cells.argmax(axis=1)
    index = np.arange(rows * columns)
    x = index % columns * cell_px + best % cell_px
    y = index // columns * cell_px + best // cell_px
    corners: Float32Array = np.stack([x, y], axis=1).astype(np.float32)
    return np.asarray(corners[cells[index, best] > _CORNER_STRENGTH], np.float32)


def track(
    image0: Uint8Array, image1: Uint8Array, keypoints0: Float32Array, *, window_px: int = 13, levels: int = 4
) -> tuple[Float32Array, BoolArray]:
    """Follow keypoints by pyramidal Lucas-Kanade, forward and backward.

    Args:
        image0: uint8 [h, w].
        image1: uint8 [h, w].
        keypoints0: float32 [N, 2] pixels.
        window_px: side of the tracked patch.
        levels: pyramid levels above the image itself.

    Returns:
        keypoints1 float32 [N, 2], and whether each came back to where it started within 0.7 px, bool [N].
    """
    if len(keypoints0) == 0:
        return np.zeros((0, 2), np.float32), np.zeros(0, np.bool_)
    size = (window_px, window_px)
    start = np.ascontiguousarray(keypoints0, np.float32)[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        image0, image1, start, np.zeros_like(start), winSize=size, maxLevel=levels, criteria=_LK_CRITERIA
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(
        image1, image0, there, np.zeros_like(start), winSize=size, maxLevel=levels, criteria=_LK_CRITERIA
    )
    is_tracked = (found[:, 0] > 0) & (returned[:, 0] > 0) & (np.abs(back - start).max(axis=(1, 2)) < 0.7)
    return there[:, 0].astype(np.float32), is_tracked


def flat_share(grey: Uint8Array) -> float:
    """Share of 8 x 8 blocks without any gradient: high in drawn graphics, low in what a lens saw.

    Args:
        grey: uint8 [h, w] at full resolution; every fourth block is looked at.
    """
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    if rows == 0 or columns == 0:
        return 0.0
    bands = grey[: rows * 8, : columns * 8].reshape(rows, 8, columns * 8)[::2]
    # Whole rows first: along them numpy uses vector instructions, within blocks it does not (17 times the time).
    brightest, darkest = bands.max(axis=1), bands.min(axis=1)
    high = reduce(np.maximum, (brightest[:, column::16] for column in range(8)))
    low = reduce(np.minimum, (darkest[:, column::16] for column in range(8)))
    return float(np.mean(high - low <= 1))


@dataclass(frozen=True, slots=True)
class PairMotion:
    """What moved between two samples. Displacements are pixels of the small images."""

    num_cells: int  # cells of the first image with texture
    still_share: float  # of those cells, tracked and in place
    axis_share: float  # of the tracked cells that moved: along x or y alone
    displacement_px: float  # median over tracked cells; nan where none was
    is_frozen: bool  # the same picture but for coding noise


def measure_pair(image0: Uint8Array, image1: Uint8Array, config: MotionConfig) -> PairMotion:
    """Measure the motion between two small images of one size.

    Args:
        image0: uint8 [h, w].
        image1: uint8 [h, w].
        config: cell size and what counts as still.
    """
    changed = cv2.absdiff(image0, image1) > config.max_frozen_difference
    if np.count_nonzero(changed) <= config.max_frozen_share * changed.size:
        return PairMotion(len(grid_corners(image0, config.cell_px)), 1.0, 0.0, 0.0, is_frozen=True)
    corners = grid_corners(image0, config.cell_px)
    moved_to, is_tracked = track(image0, image1, corners)
    if not is_tracked.any():
        return PairMotion(len(corners), 0.0, 0.0, float("nan"), is_frozen=False)
    step = np.abs(moved_to - corners)[is_tracked]
    length = np.hypot(step[:, 0], step[:, 1])
    still_px = config.min_motion_share * max(image0.shape)
    moved = step[length > still_px]
    axis_share = float(np.mean(moved.min(axis=1) < 0.1 + 0.02 * moved.max(axis=1))) if len(moved) else 0.0
    num_still = int(np.count_nonzero(length <= still_px))
    return PairMotion(len(corners), num_still / len(corners), axis_share, float(np.median(length)), is_frozen=False)


class MotionMeter:
    """Follows the samples of one shot and says at its end whether the camera moved.

    Keeps a few small images, and twelve bytes a sample for the medians.
    """

    def __init__(self, config: MotionConfig) -> None:
        self._config = config
        self._previous: Uint8Array | None = None
        self._views: list[tuple[Uint8Array, int, int]] = []  # image, first and last sample that showed it
        self._displacements_px = array("f")
        self._axis_shares = array("f")  # of the pairs in which something moved
        self._flat_shares = array("f")
        self._num_frozen = 0
        self._num_blank = 0
        self._num_samples = 0

    def see(self, image: Uint8Array, flat: float) -> bool:
        """Take the next sample.

        Args:
            image: uint8 [h, w], the sample shrunk to `MotionConfig.analysis_long_side`.
            flat: `flat_share` of the sample.

        Returns:
            Whether the picture as a whole moved since the sample before; True for the first.
        """
        sample = self._num_samples
        self._num_samples += 1
        self._flat_shares.append(flat)
        self._num_blank += float(cv2.meanStdDev(image)[1].item()) < self._config.min_contrast
        previous, self._previous = self._previous, image
        if previous is None:
            return True
        pair = measure_pair(previous, image, self._config)
        self._num_frozen += pair.is_frozen
        if not np.isnan(pair.displacement_px):
            self._displacements_px.append(pair.displacement_px)
        if pair.still_share < 1.0:
            self._axis_shares.append(pair.axis_share)
        is_still = pair.still_share >= self._config.min_still_share
        if is_still:
            self._find_view(image, sample)
        return not is_still

    def displacement_px(self) -> float:
        """Median displacement between neighbouring samples, pixels of the small image; untracked pairs do not count."""
        return float(np.median(self._displacements_px)) if self._displacements_px else 0.0

    def verdict(self) -> str:
        """Reason to reject the shot, empty when it is used."""
        if self._num_samples and self._num_blank >= 0.8 * self._num_samples:
            return BLANK
        if self._num_samples < 2:
            return ""
        frozen_share = self._num_frozen / (self._num_samples - 1)
        is_drawn = float(np.median(self._flat_shares)) >= self._config.min_drawn_share
        if is_drawn and 0.6 <= frozen_share < 1.0:
            return SLIDES
        if frozen_share >= 0.95:
            return FREEZE
        if is_drawn and self._scrolls():
            return SCREEN_RECORDING
        return STATIC_CAMERA if self._is_static() else ""

    def _scrolls(self) -> bool:
        return bool(self._axis_shares) and float(np.median(self._axis_shares)) >= self._config.min_axis_share

    def _is_static(self) -> bool:
        """Whether one view spans nearly the whole shot."""
        num_pairs = self._num_samples - 1
        outside = num_pairs - max((last - first for _, first, last in self._views), default=0)
        return outside <= min(self._config.min_moving_share * num_pairs, self._config.min_moving_samples)

    def _find_view(self, image: Uint8Array, sample: int) -> None:
        # Only the latest and the longest view can still become the longest one.
        for position in reversed(range(len(self._views))):
            reference, first, _ = self._views[position]
            if self._is_same_view(reference, image):
                self._views[position] = (reference, first, sample)
                return
        longest = sorted(self._views, key=lambda view: view[2] - view[1])[-1:]
        self._views = [*longest, (image, sample - 1, sample)]

    def _is_same_view(self, reference: Uint8Array, image: Uint8Array) -> bool:
        corners = grid_corners(reference, self._config.cell_px)
        moved_to, is_tracked = track(reference, image, corners)
        allowed_px = self._config.max_drift_share * max(image.shape)
        in_place = is_tracked & (np.linalg.norm(moved_to - corners, axis=1) < allowed_px)
        return bool(in_place.sum() >= self._config.min_still_share * max(len(corners), 1))
