"""Random homographies: crop, scale, perspective and rotation as one matrix, from pixels of a frame to the sample's.

A matrix A sends homogeneous positions (origin at the centre of the top-left pixel) to where they come to lie; sizes are
(width, height), pixels. Images follow in `gim.training.augment.warp`.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from gim.geometry.homography import apply_homography
from gim.geometry.pixels import PixelMap, is_inside
from gim.records import Float64Array
from gim.training.augment.config import GeometryConfig, Range, SyntheticConfig

Size = tuple[int, int]

_OVERLAP_GRID = 16  # positions along each side
_QUADRANGLE_TRIES = 100  # three of four quadrangles are convex enough where difficulty is 1, all where it is 0.7


def draw_pair(
    config: GeometryConfig,
    sizes: tuple[Size, Size],
    size: Size,
    rng: np.random.Generator,
    *,
    labels: npt.ArrayLike | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Draw where the two images of a pair come to lie in images of `size`.

    Args:
        config: how far they may move.
        sizes: of image 0 and of image 1.
        size: of the sample's images.
        rng: the only source of chance.
        labels: [N, 4] correspondences inside the images, N > 0; None: every pixel of the pair has a place.

    Returns:
        A0, A1: float64 [3, 3].
    """
    if labels is None:
        ranges, probability = (config.rescale_other, config.rescale_other), config.perspective_other
        boxes: tuple[Float64Array | None, Float64Array | None] = (None, None)
    else:
        ranges, probability = (config.rescale_labelled0, config.rescale_labelled1), config.perspective_labelled
        rows = np.asarray(labels, np.float64)
        boxes = (_box(rows[:, :2]), _box(rows[:, 2:]))
    A0 = _draw_frame(config, sizes[0], size, rng, rescale=ranges[0], box=boxes[0])
    A1 = _draw_frame(config, sizes[1], size, rng, rescale=ranges[1], box=boxes[1])
    if rng.random() < probability:
        A1 = draw_homography(config, size, rng) @ A1
    return A0, A1


def draw_homography(config: GeometryConfig, size: Size, rng: np.random.Generator) -> Float64Array:
    """Move each corner of an image of `size` within its share of the sides, then turn the image about its centre."""
    corners = image_corners(size)
    shifts = rng.uniform(-config.corner_shift, config.corner_shift, (4, 2)) * size
    angle = math.radians(rng.uniform(-config.rotation_deg, config.rotation_deg))
    return np.asarray(_rotation(angle, corners.mean(axis=0)) @ homography_between(corners, corners + shifts))


def fitting(image_size: Size, size: Size, *, scale: float = 1.0) -> Float64Array:
    """The matrix of resizing an image to the largest size within `size` of its aspect, times `scale`, in whole pixels.

    It lies at the top left; what `size` has more to the right and below stays empty.
    """
    return _resizing(image_size, scale * min(size[0] / image_size[0], size[1] / image_size[1]))


def image_corners(size: Size) -> Float64Array:
    """The corners [4, 2] of an image's outermost pixels, from the top left on clockwise."""
    return np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64) * size - 0.5


def homography_between(quadrangle0: npt.ArrayLike, quadrangle1: npt.ArrayLike) -> Float64Array:
    """The homography [3, 3] that takes four positions [4, 2] to four others, no three of them on a line.

    Its sign is such that what lies inside the first four has a positive third coordinate afterwards.
    """
    points = [np.asarray(corners, np.float32) for corners in (quadrangle0, quadrangle1)]
    H01 = np.asarray(cv2.getPerspectiveTransform(points[0], points[1]), np.float64)
    return np.asarray(H01 * np.sign(H01[2] @ (*np.mean(points[0], axis=0), 1)))


def draw_views(
    config: SyntheticConfig, image_size: Size, size: Size, rng: np.random.Generator
) -> tuple[Float64Array, Float64Array] | None:
    """Draw two views of one image: A0 and A1, float64 [3, 3]; None when none of the tries overlap enough."""
    for _ in range(config.max_tries):
        A0, A1 = draw_view(config, image_size, size, rng), draw_view(config, image_size, size, rng)
        H01 = A1 @ np.linalg.inv(A0)
        if min(view_overlap(H01, size), view_overlap(np.linalg.inv(H01), size)) >= config.min_overlap:
            return A0, A1
    return None


def draw_view(config: SyntheticConfig, image_size: Size, size: Size, rng: np.random.Generator) -> Float64Array:
    """Draw a quadrangle inside an image that fills a view of `size`: A, float64 [3, 3]."""
    quadrangle = _draw_quadrangle(config, image_size, size, rng)
    bounds = image_corners(image_size)[[0, 2]]
    room = bounds - (quadrangle.min(axis=0), quadrangle.max(axis=0))
    quadrangle = quadrangle + rng.uniform(*(config.translation * room))
    return homography_between(quadrangle, image_corners(size))


def view_overlap(H01: npt.ArrayLike, size: Size) -> float:
    """The share of view 0 that lies inside view 1, both of `size`, over a grid of positions."""
    grid = even_grid(size, _OVERLAP_GRID)
    # Behind the camera of view 1, a position has a negative third coordinate, and is not seen.
    in_front = np.column_stack([grid, np.ones(len(grid))]) @ np.asarray(H01)[2] > 0
    return float(np.mean(in_front & is_inside(apply_homography(grid, H01), *size)))


def _draw_quadrangle(config: SyntheticConfig, image_size: Size, size: Size, rng: np.random.Generator) -> Float64Array:
    """Corners [4, 2] of a turned quadrangle inside the image and about its middle."""
    whole = image_corners((1, 1))  # about the origin
    drawn = whole
    for _ in range(_QUADRANGLE_TRIES):
        shrunk = whole * (1 - config.difficulty * rng.uniform(0, 1, (4, 2)))
        if _convexity(shrunk) >= config.min_convexity:
            drawn = shrunk
            break
    # As wide and high as an image of the view's aspect can be in this one, so that nothing is squeezed where
    # difficulty is 0, and with its bounding box in the middle, which keeps it inside.
    sides = np.multiply(size, min(image_size[0] / size[0], image_size[1] / size[1]))
    middle = image_corners(image_size).mean(axis=0)
    level = (drawn - (drawn.min(axis=0) + drawn.max(axis=0)) / 2) * sides + middle
    largest = math.radians(config.max_angle_deg) * config.difficulty
    for angle in rng.uniform(-largest, largest, config.angle_tries):
        turned = apply_homography(level, _rotation(angle, middle))
        if _contains(image_size, turned):
            return turned
    return np.asarray(level, np.float64)


def _contains(size: Size, corners: Float64Array) -> bool:
    low, high = image_corners(size)[[0, 2]]
    return bool(np.all((corners >= low) & (corners <= high)))


def _convexity(corners: Float64Array) -> float:
    """The smallest cross product of neighbouring sides; positive where all turn right, as in a convex quadrangle."""
    sides = np.roll(corners, -1, axis=0) - corners
    after = np.roll(sides, -1, axis=0)
    return float(np.min(sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]))


def _draw_frame(
    config: GeometryConfig,
    image_size: Size,
    size: Size,
    rng: np.random.Generator,
    *,
    rescale: Range,
    box: Float64Array | None,
) -> Float64Array:
    """Scale an image to fit or fill `size`, times a factor, and cut what stands over, not the box's top left."""
    ratios = size[0] / image_size[0], size[1] / image_size[1]
    scale = max(ratios) if rng.random() < config.fill_probability else min(ratios)
    if rng.random() < config.rescale_probability:
        low, high = rescale
        if box is not None:
            # Beyond, the box's right or lower edge is outside even of a crop that starts at the frame's corner.
            high = min(high, float(np.min(size / (box[1] + 0.5))) / scale)
        scale *= rng.uniform(min(low, high), high)
    A = _resizing(image_size, scale)
    scaled = apply_homography(image_corners(image_size)[2:3], A)[0] + 0.5
    start = np.floor(rng.uniform(0, 1, 2) * np.maximum(scaled - size, 0))
    if box is not None:
        start = np.minimum(start, np.floor(apply_homography(box[:1], A)[0] + 0.5))
    return PixelMap.cropping(int(start[0]), int(start[1])).apply_to_intrinsics(A)


def _resizing(image_size: Size, scale: float) -> Float64Array:
    new_size = max(round(image_size[0] * scale), 1), max(round(image_size[1] * scale), 1)
    return PixelMap.resizing(image_size, new_size).apply_to_intrinsics(np.eye(3))


def _rotation(angle: float, centre: Float64Array) -> Float64Array:
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = centre - turn @ centre
    return matrix


def _box(keypoints: Float64Array) -> Float64Array:
    """The smallest and the largest coordinates, [2, 2]."""
    return np.stack([keypoints.min(axis=0), keypoints.max(axis=0)])


def even_grid(size: Size, count: int) -> Float64Array:
    """Positions [count * count, 2] spread evenly over an image."""
    steps = (np.arange(count) + 0.5) / count
    x, y = np.meshgrid(steps * size[0] - 0.5, steps * size[1] - 0.5)
    return np.column_stack([x.ravel(), y.ravel()])
