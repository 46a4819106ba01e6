"""Pairs with known truth for the augmentation's tests."""

import numpy as np

from gim.records import BoolArray, Float64Array, Uint8Array
from gim.training.samples import DepthView, Labels, Posed, Sample, Truth


def texture(width: int, height: int, seed: int = 0) -> Uint8Array:
    """Random colours, smooth over some pixels: [height, width, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // 8 + 2, width // 8 + 2, 3))
    rows, columns = np.linspace(0, height // 8, height), np.linspace(0, width // 8, width)
    y, x = rows.astype(int), columns.astype(int)
    dy, dx = (rows - y)[:, None, None], (columns - x)[None, :, None]
    upper = coarse[y][:, x] * (1 - dx) + coarse[y][:, x + 1] * dx
    lower = coarse[y + 1][:, x] * (1 - dx) + coarse[y + 1][:, x + 1] * dx
    return (upper * (1 - dy) + lower * dy).astype(np.uint8)


def sample_of(image0: Uint8Array, image1: Uint8Array, truth: Truth, *, part: str = "video") -> Sample:
    """A sample without empty pixels."""
    valid0, valid1 = (np.ones(image.shape[:2], np.bool_) for image in (image0, image1))
    return Sample("film/7_9", part, image0, image1, valid0, valid1, truth)


def labelled(size0: tuple[int, int], size1: tuple[int, int], count: int = 200, seed: int = 0) -> Sample:
    """Random colours and labels anywhere in both images."""
    rng = np.random.default_rng(seed)
    points = np.hstack([rng.uniform(-0.5, np.array(size) - 0.51, (count, 2)) for size in (size0, size1)])
    return sample_of(texture(*size0, seed), texture(*size1, seed + 1), Labels(points.astype(np.float32)))


def with_dots(size: tuple[int, int], centres: Float64Array, sigma_px: float) -> Uint8Array:
    """White dots, smooth and round, on black: [H, W, 3]."""
    rows, columns = np.indices((size[1], size[0]))
    image = np.zeros((size[1], size[0]))
    for x, y in centres:
        image = np.maximum(image, 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma_px**2)))
    return np.rint(image).astype(np.uint8)[:, :, None].repeat(3, axis=2)


def ideal_dot(centre: Float64Array, sigma_px: float, A: Float64Array, size: tuple[int, int]) -> Float64Array:
    """A dot of `with_dots` after a homography, its formula evaluated where each pixel comes from: [H, W, 1]."""
    rows, columns = np.indices((size[1], size[0]))
    back = np.stack([columns, rows, np.ones_like(rows)], axis=2) @ np.linalg.inv(A).T
    squared = ((back[..., :2] / back[..., 2:] - centre) ** 2).sum(axis=2)
    return 255 * np.exp(-squared / (2 * sigma_px**2))[:, :, None]


def dot_centre(image: Uint8Array, near: Float64Array, radius_px: int) -> Float64Array:
    """The centre of brightness within some pixels of a position."""
    x, y = np.rint(near).astype(int)
    rows, columns = np.mgrid[y - radius_px : y + radius_px + 1, x - radius_px : x + radius_px + 1]
    weights = image[rows, columns, 0].astype(np.float64)
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


def plane_pair(size: tuple[int, int]) -> tuple[Posed, Float64Array]:
    """Two views of a plane in front of camera 0, as poses with depth, and the homography between the views."""
    width, height = size
    K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    angle = 0.1
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    translation = np.array([-0.3, 0.1, 0.2])
    normal, distance = np.array([0, 0, 1.0]), 4.0
    T_0to1 = np.eye(4)
    T_0to1[:3, :3], T_0to1[:3, 3] = rotation, translation
    H01 = K @ (rotation + np.outer(translation, normal) / distance) @ np.linalg.inv(K)
    depth = np.full((height, width), distance, np.float32)
    views = [DepthView(depth, K, np.eye(3)), DepthView(depth, K, np.eye(3))]
    return Posed(views[0], views[1], T_0to1), H01


def posed_position(truth: Posed, keypoint: Float64Array, depth: float) -> Float64Array:
    """Where a pixel of the sample's image 0, whose depth is known, lies in the sample's image 1: step by step."""
    at_depth_map = np.linalg.inv(truth.view0.to_image) @ (*keypoint, 1)
    ray = np.linalg.inv(truth.view0.K) @ (at_depth_map / at_depth_map[2])
    in_camera1 = truth.T_0to1[:3, :3] @ (ray * depth) + truth.T_0to1[:3, 3]
    projected = truth.view1.K @ in_camera1
    at_image = truth.view1.to_image @ (projected / projected[2])
    return at_image[:2] / at_image[2]


def slow_valid(valid: BoolArray, A: Float64Array, size: tuple[int, int]) -> BoolArray:
    """Which pixels of a warped image have their centre on a valid pixel, one by one."""
    back = np.linalg.inv(A)
    result = np.zeros((size[1], size[0]), np.bool_)
    for row in range(size[1]):
        for column in range(size[0]):
            x, y, third = back @ (column, row, 1)
            x, y = x / third, y / third
            inside = -0.5 <= x < valid.shape[1] - 0.5 and -0.5 <= y < valid.shape[0] - 0.5
            result[row, column] = inside and valid[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
    return result
