"""A two-view scene as PLY bytes: coloured points, and both cameras as pyramids. Reads and writes no files.

The cameras are drawn twice: as edges, which MeshLab and Open3D's line sets show, and as dots along them, because
viewers of point clouds (CloudCompare, Open3D's) pass edges over. Faces would make some viewers hide the points.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gim.geometry.pixels import from_corner_origin
from gim.geometry.two_view import TwoViewScene
from gim.records import Float64Array, Uint8Array

_CAMERA_COLOURS = ((60, 200, 255), (255, 150, 40))  # 0, 1
_PYRAMID_DEPTH = 0.25  # of the distance between the cameras
_DOTS_PER_EDGE = 40
_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]], np.int32)
_VERTEX = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
_HEADER = """ply
format binary_little_endian 1.0
comment axes of camera 0, at the origin: x right, y down, z forward; unit: the distance between the cameras
comment T_0to1 {pose}
element vertex {vertices}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element edge {edges}
property int vertex1
property int vertex2
end_header
"""


def scene_to_ply(scene: TwoViewScene, colours: Uint8Array, size0: tuple[int, int], size1: tuple[int, int]) -> bytes:
    """The scene as a binary PLY: first its points, then the corners of both cameras, then the dots along their edges.

    Args:
        scene: points and cameras.
        colours: uint8 RGB [P, 3] of the points.
        size0: (width, height) of image 0, pixels.
        size1: likewise of image 1.
    """
    corners = [_pyramid(scene.K0, size0, np.eye(4)), _pyramid(scene.K1, size1, np.linalg.inv(scene.T_0to1))]
    dots = [_dots_along(pyramid) for pyramid in corners]
    vertices = np.concatenate(
        [
            _coloured(scene.points, colours),
            *(_coloured(item, colour) for item, colour in zip(corners, _CAMERA_COLOURS, strict=True)),
            *(_coloured(item, colour) for item, colour in zip(dots, _CAMERA_COLOURS, strict=True)),
        ]
    )
    edges = np.vstack([_EDGES, _EDGES + len(corners[0])]) + len(scene.points)
    pose = " ".join(f"{number:.9g}" for number in scene.T_0to1[:3].ravel())
    header = _HEADER.format(pose=pose, vertices=len(vertices), edges=len(edges))
    return header.encode("ascii") + vertices.tobytes() + edges.astype("<i4").tobytes()


def colours_at(image: Uint8Array, keypoints: Float64Array) -> Uint8Array:
    """Colours uint8 [N, 3] of an RGB image [H, W, 3] at positions [N, 2], from the nearest pixels."""
    columns, rows = np.rint(keypoints).astype(np.int64).T
    return np.asarray(image[np.clip(rows, 0, image.shape[0] - 1), np.clip(columns, 0, image.shape[1] - 1)], np.uint8)


def _pyramid(K: Float64Array, size: tuple[int, int], T_camera_to_0: npt.NDArray[np.floating[Any]]) -> Float64Array:
    """Centre and image corners [5, 3] of a camera, in the axes of camera 0."""
    width, height = size
    corners = from_corner_origin([[0, 0], [width, 0], [width, height], [0, height]])
    rays = np.column_stack([corners, np.ones(4)]) @ np.linalg.inv(K).T
    places = np.vstack([np.zeros(3), rays * _PYRAMID_DEPTH])
    return np.asarray(places @ T_camera_to_0[:3, :3].T + T_camera_to_0[:3, 3])


def _dots_along(pyramid: Float64Array) -> Float64Array:
    share = np.linspace(0, 1, _DOTS_PER_EDGE)[:, None, None]
    start, end = pyramid[_EDGES[:, 0]], pyramid[_EDGES[:, 1]]
    return np.asarray((start + share * (end - start)).reshape(-1, 3))


def _coloured(
    places: Float64Array, colours: Uint8Array | tuple[int, int, int]
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    vertices = np.empty(len(places), _VERTEX)
    vertices["place"] = places
    vertices["colour"] = colours
    return vertices
