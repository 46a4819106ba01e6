"""Whether two pictures show the same place: the evidence for and against a cut.

Responsible for: comparing two pictures by what can be followed from one to the other. Not for: which pictures are
compared, and what follows from it (`gim.video.shots`).

Two tests, for two sizes. `is_same_scene` tracks corners between two tiny frames (milliseconds, small motion);
`is_same_place` matches SIFT features of two samples (tens of milliseconds, any motion, only for what is left).
"""

from itertools import pairwise

import cv2
import numpy as np

from gim.records import BoolArray, Float32Array, Int64Array, Uint8Array
from gim.video.motion import grid_corners, shrink, track

_CELL_PX = 12  # of a tiny frame
_PATCH_PX = 9
_MIN_CORNERS = 6  # fewer say nothing
_MIN_CORRELATION = 0.7  # of a tracked patch with where it came from
_MIN_LIKENESS = 0.5  # of a corner followed over many frames with where it began
_MIN_TRACKED_SHARE = 0.06  # 300 pairs of unrelated pictures: 0.03 at most; 8,000 pairs of neighbours: 0.2 and more
_MIN_IN_PLACE_SHARE = 0.3  # the same of corners that did not move: a logo or a bonnet stays through every cut
_MIN_REGIONS = 5
_IN_PLACE_PX = 0.7
_PLACE_LONG_SIDE = 480
_MIN_PLACE_MATCHES = 8  # agreeing with one affine map; unrelated pictures: 5 at most


def is_same_scene(image0: Uint8Array, image1: Uint8Array) -> bool | None:
    """Say whether corners of one tiny frame are found again in the other.

    Args:
        image0: uint8 [h, w], about 160 pixels wide.
        image1: uint8 [h, w].

    Returns:
        None when neither picture has enough texture to tell.
    """
    corners0, corners1 = grid_corners(image0, _CELL_PX), grid_corners(image1, _CELL_PX)
    if max(len(corners0), len(corners1)) < _MIN_CORNERS:
        return None
    if len(corners1) > len(corners0):
        image0, image1, corners0 = image1, image0, corners1
    corners1, is_tracked = _follow(image0, image1, corners0)
    moved = has_moved(corners0[is_tracked], corners1[is_tracked])
    return bool(
        np.count_nonzero(moved) >= max(3.0, _MIN_TRACKED_SHARE * len(corners0))
        or len(moved) >= _MIN_IN_PLACE_SHARE * len(corners0)
    )


def followed_share(images: list[Uint8Array]) -> float:
    """Share of the first frame's corners that can be followed to the last, of those that stay in the picture.

    Args:
        images: uint8 [h, w] each, in order.

    Returns:
        In [0, 1]; a dissolve loses its corners in the middle of the picture, a moving camera at its border.
    """
    first = grid_corners(images[0], _CELL_PX)
    places, is_lost, has_left = first.copy(), np.zeros(len(first), np.bool_), np.zeros(len(first), np.bool_)
    limit = np.array(images[0].shape[::-1], np.float32) - _CELL_PX
    for image0, image1 in pairwise(images):
        live = np.flatnonzero(~is_lost & ~has_left)
        moved, is_tracked = _follow(image0, image1, places[live])
        near_border = ((places[live] < _CELL_PX) | (places[live] > limit)).any(axis=1)
        has_left[live] = near_border & ~is_tracked
        is_lost[live] = ~near_border & ~is_tracked
        places[live[is_tracked]] = moved[is_tracked]
    live = np.flatnonzero(~is_lost & ~has_left)
    likeness = patch_correlation(images[0], images[-1], first[live], places[live])
    num_followed = int(np.count_nonzero(likeness > _MIN_LIKENESS))
    return num_followed / max(len(first) - int(has_left.sum()), 1)


def _follow(image0: Uint8Array, image1: Uint8Array, keypoints0: Float32Array) -> tuple[Float32Array, BoolArray]:
    """Track between two tiny frames; what is tracked also looks alike."""
    image1 = equalise(image1, image0)
    keypoints1, is_tracked = track(image0, image1, keypoints0, window_px=11, levels=3)
    return keypoints1, is_tracked & (patch_correlation(image0, image1, keypoints0, keypoints1) > _MIN_CORRELATION)


def texture_share(image: Uint8Array) -> float:
    """Share of a tiny frame's cells that hold a corner to follow."""
    num_cells = int(image.shape[0] // _CELL_PX) * int(image.shape[1] // _CELL_PX)
    return len(grid_corners(image, _CELL_PX)) / max(num_cells, 1)


def has_moved(keypoints0: Float32Array, keypoints1: Float32Array) -> BoolArray:
    """Which correspondences moved at all.

    What stays exactly in place may be a logo that lies over every shot of the film; it speaks for one scene only in
    great number.

    Args:
        keypoints0: float32 [N, 2] pixels.
        keypoints1: float32 [N, 2] pixels.

    Returns:
        bool [N].
    """
    return np.asarray(np.abs(keypoints1 - keypoints0).max(axis=1, initial=0.0) > _IN_PLACE_PX)


def equalise(image: Uint8Array, target: Uint8Array) -> Uint8Array:
    """Give an image the mean and contrast of another, so that a jump of the exposure does not look like a cut.

    Args:
        image: uint8 [h, w].
        target: uint8 [h, w].

    Returns:
        uint8 [h, w].
    """
    gain = (float(target.std()) + 1.0) / (float(image.std()) + 1.0)
    offset = float(target.mean()) - gain * float(image.mean())
    table = np.clip(np.arange(256) * gain + offset, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), np.uint8)


def patch_correlation(
    image0: Uint8Array, image1: Uint8Array, keypoints0: Float32Array, keypoints1: Float32Array
) -> Float32Array:
    """Normalised cross correlation of the patches around corresponding keypoints.

    Args:
        image0: uint8 [h, w].
        image1: uint8 [h, w].
        keypoints0: float32 [N, 2] pixels.
        keypoints1: float32 [N, 2] pixels.

    Returns:
        float32 [N] in [-1, 1]; patches without contrast give about 0.
    """
    if len(keypoints0) == 0:
        return np.zeros(0, np.float32)
    offsets = np.arange(_PATCH_PX, dtype=np.float32) - _PATCH_PX // 2
    grid = np.stack([np.tile(offsets, _PATCH_PX), np.repeat(offsets, _PATCH_PX)], axis=1)
    patches = []
    for image, keypoints in ((image0, keypoints0), (image1, keypoints1)):
        places = (keypoints[:, None] + grid).astype(np.float32)
        patch = cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        values = patch.astype(np.float32)
        patches.append(values - values.mean(axis=1, keepdims=True))
    product = (patches[0] * patches[1]).sum(axis=1)
    energy = np.sqrt((patches[0] ** 2).sum(axis=1) * (patches[1] ** 2).sum(axis=1))
    return np.asarray(product / (energy + 50.0), np.float32)


def is_same_place(image0: Uint8Array, image1: Uint8Array) -> bool:
    """Say whether SIFT matches of two samples agree with one affine map.

    Args:
        image0: uint8 [h, w], any size; shrunk to 480 pixels on the long side.
        image1: uint8 [h, w].
    """
    keypoints0, descriptors0 = _find_keypoints(shrink(image0, _PLACE_LONG_SIDE))
    keypoints1, descriptors1 = _find_keypoints(shrink(image1, _PLACE_LONG_SIDE))
    number0, number1 = len(keypoints0), len(keypoints1)
    if min(number0, number1) < _MIN_PLACE_MATCHES:
        return False
    matches = _match(descriptors0, descriptors1)
    keypoints0, keypoints1 = keypoints0[matches[:, 0]], keypoints1[matches[:, 1]]
    moved = has_moved(keypoints0, keypoints1)
    if np.count_nonzero(~moved) >= max(_MIN_PLACE_MATCHES, _MIN_IN_PLACE_SHARE * max(number0, number1)):
        return _num_regions(keypoints0[~moved]) >= _MIN_REGIONS
    if np.count_nonzero(moved) < _MIN_PLACE_MATCHES:
        return False
    # The sampler of OpenCV's estimator has its own fixed seed: the answer is the same in every run.
    _, inliers = cv2.estimateAffine2D(keypoints0[moved], keypoints1[moved], ransacReprojThreshold=8.0)
    return inliers is not None and int(np.count_nonzero(inliers)) >= _MIN_PLACE_MATCHES


def _num_regions(keypoints: Float32Array) -> int:
    """Squares of a quarter of the long side with a keypoint: a logo or a line of text has four at most."""
    return len(np.unique((keypoints // (_PLACE_LONG_SIDE / 4)).astype(np.int64), axis=0))


def _find_keypoints(image: Uint8Array) -> tuple[Float32Array, Float32Array]:
    keypoints, descriptors = cv2.SIFT.create(nfeatures=800).detectAndCompute(image, None)
    if len(keypoints) == 0:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    return np.array([point.pt for point in keypoints], np.float32), np.asarray(descriptors, np.float32)


def _match(descriptors0: Float32Array, descriptors1: Float32Array) -> Int64Array:
    """Mutual nearest neighbours that pass the ratio test (Lowe 2004, 0.8): [N, 2] indices."""
    distance2 = _squared_distances(descriptors0, descriptors1)
    nearest = distance2.argmin(axis=1)
    two = np.partition(distance2, 1, axis=1)
    rows = np.arange(len(descriptors0))
    keep = (distance2.argmin(axis=0)[nearest] == rows) & (two[:, 0] < 0.8**2 * two[:, 1])
    return np.asarray(np.stack([rows, nearest], axis=1)[keep], np.int64)


def _squared_distances(descriptors0: Float32Array, descriptors1: Float32Array) -> Float32Array:
    squares0 = (descriptors0**2).sum(axis=1)[:, None]
    squares1 = (descriptors1**2).sum(axis=1)[None]
    return np.asarray(squares0 + squares1 - 2.0 * descriptors0 @ descriptors1.T, np.float32)
