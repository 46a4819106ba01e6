"""Lenses of the models that sources use: from rays to pixels, so that any of them can be undone the same way."""

from typing import Any

import cv2
import numpy as np

from gim.benchmarks.building.scene import Distortion, Lens, pinhole_matrix
from gim.errors import InvalidInput
from gim.records import Float64Array

_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")


def opencv_lens(
    K: Float64Array, coefficients: tuple[float, ...], *, name: str, size: tuple[int, int] | None, fisheye: bool = False
) -> Lens:
    """A lens of OpenCV's model k1 k2 p1 p2 [k3 ...], or of its fisheye model k1 k2 k3 k4."""
    if not any(coefficients) and not fisheye:
        return Lens(name, K, size)
    distortion = np.array(coefficients, np.float64)

    def distort(rays: Float64Array) -> Float64Array:
        if fisheye:
            pixels = cv2.fisheye.distortPoints(rays[:, None], K, distortion)
        else:
            points = np.column_stack([rays, np.ones(len(rays))])
            pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, distortion)
        return np.asarray(pixels, np.float64).reshape(-1, 2)

    return Lens(name, K, size, distort)


def colmap_lens(camera: Any, where: str) -> Lens:
    """The lens of a camera of COLMAP, whose principal point is counted from the corner of the top-left pixel.

    Raises:
        InvalidInput: a model without focal lengths and principal point: a full sphere.
    """
    name = f"{where}, camera {camera.camera_id}"
    if not np.all(np.isfinite(camera.params)) or not hasattr(camera, "focal_length_x") or len(camera.params) < 3:
        raise InvalidInput(f"{name}: model {camera.model.name} has no pinhole camera in it")
    centre = camera.principal_point_x - 0.5, camera.principal_point_y - 0.5
    K = pinhole_matrix(camera.focal_length_x, camera.focal_length_y, *centre, name)
    is_pinhole = camera.model.name in _PINHOLES or not any(camera.params[index] for index in camera.extra_params_idxs())
    size = (int(camera.width), int(camera.height))
    fisheye = "FISHEYE" in camera.model.name
    return Lens(name, K, size, None if is_pinhole and not fisheye else _colmap_distortion(camera))


def _colmap_distortion(camera: Any) -> Distortion:
    def distort(rays: Float64Array) -> Float64Array:
        pixels = camera.img_from_cam(np.column_stack([rays, np.ones(len(rays))]))
        return np.asarray(pixels, np.float64) - 0.5

    return distort


def parse_lens(text: str) -> Lens:
    """The lens that a text `FX,FY,CX,CY[,K1,K2,P1,P2[,K3]]` states, pixels counted from the top-left pixel's centre.

    Raises:
        InvalidInput: not 4, 8 or 9 numbers, or none of a camera.
    """
    where = f"camera {text!r}"
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}; as in 517.3,516.5,318.6,255.3") from error
    if len(numbers) not in (4, 8, 9) or not np.isfinite(numbers).all():
        raise InvalidInput(f"{where}: expected FX,FY,CX,CY, or with K1,K2,P1,P2 or K1,K2,P1,P2,K3 behind")
    fx, fy, cx, cy = numbers[:4]
    K = pinhole_matrix(fx, fy, cx, cy, where)
    return opencv_lens(K, tuple(numbers[4:]), name=where, size=None)
