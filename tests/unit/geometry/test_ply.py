import re

import numpy as np
import pytest

from gim.geometry.ply import colours_at, scene_to_ply
from gim.geometry.pose import as_pose
from gim.geometry.two_view import TwoViewScene

_SIZES = {"float": ("<f4", 4), "uchar": ("u1", 1), "int": ("<i4", 4)}


def read_ply(data):
    """The elements of a binary little-endian PLY, read by the letter of its definition (Turk, 1994)."""
    head, body = data.split(b"end_header\n", 1)
    lines = head.decode("ascii").split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    elements, at = {}, 0
    declared = re.findall(r"element (\w+) (\d+)\n((?:property \w+ \w+\n)+)", head.decode() + "\n")
    for name, count, properties in declared:
        kind = np.dtype([(field, _SIZES[size][0]) for size, field in re.findall(r"property (\w+) (\w+)", properties)])
        elements[name] = np.frombuffer(body, kind, int(count), at)
        at += int(count) * kind.itemsize
    assert at == len(body)
    return elements


@pytest.fixture
def scene():
    R = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float64)
    K = np.array([[100, 0, 49.5], [0, 100, 39.5], [0, 0, 1]])
    points = np.random.default_rng(0).uniform(1, 5, (20, 3))
    return TwoViewScene(K, 2 * K, as_pose(np.column_stack([R, [0.6, 0, 0.8]])), points, np.arange(20), np.full(20, 5.0))


def test_points_come_first_with_their_colours(scene):
    colours = np.random.default_rng(1).integers(0, 256, (20, 3), dtype=np.uint8)
    vertices = read_ply(scene_to_ply(scene, colours, (100, 80), (100, 80)))["vertex"][:20]
    np.testing.assert_allclose(np.stack([vertices[axis] for axis in "xyz"], axis=1), scene.points, rtol=1e-6)
    np.testing.assert_array_equal(np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1), colours)


def test_cameras_are_pyramids_at_their_centres_one_baseline_apart(scene):
    elements = read_ply(scene_to_ply(scene, np.zeros((20, 3), np.uint8), (100, 80), (100, 80)))
    places = np.stack([elements["vertex"][axis] for axis in "xyz"], axis=1).astype(float)
    edges = np.stack([elements["edge"]["vertex1"], elements["edge"]["vertex2"]], axis=1)
    centres = [index for index in np.unique(edges) if (edges == index).sum() == 4]
    np.testing.assert_allclose(places[centres[0]], 0, atol=1e-7)
    R, t = scene.T_0to1[:3, :3], scene.T_0to1[:3, 3]
    np.testing.assert_allclose(places[centres[1]], -R.T @ t, atol=1e-6)
    assert np.linalg.norm(places[centres[1]] - places[centres[0]]) == pytest.approx(1, abs=1e-6)
    # The corners of the image, as camera 0 sees them.
    corners = places[centres[0] + 1 : centres[0] + 5]
    seen = corners @ scene.K0.T
    np.testing.assert_allclose(
        seen[:, :2] / seen[:, 2:], [[-0.5, -0.5], [99.5, -0.5], [99.5, 79.5], [-0.5, 79.5]], atol=1e-4
    )
    # And those of camera 1 are before it.
    moved = places[centres[1] + 1 : centres[1] + 5] @ R.T + t
    assert (moved[:, 2] > 0).all()


def test_every_edge_is_drawn_in_dots_too_for_viewers_of_points(scene):
    elements = read_ply(scene_to_ply(scene, np.zeros((20, 3), np.uint8), (100, 80), (100, 80)))
    places = np.stack([elements["vertex"][axis] for axis in "xyz"], axis=1).astype(float)
    assert len(elements["edge"]) == 16
    for edge in elements["edge"]:
        middle = (places[edge["vertex1"]] + places[edge["vertex2"]]) / 2
        length = np.linalg.norm(places[edge["vertex1"]] - places[edge["vertex2"]])
        assert np.linalg.norm(places[30:] - middle, axis=1).min() < length / 40


def test_colours_are_those_of_the_nearest_pixels():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    places = np.array([[0.2, 0.4], [3.6, 2.4], [4.4, 3.4], [-0.5, -0.5]])
    np.testing.assert_array_equal(colours_at(image, places), [image[0, 0], image[2, 4], image[3, 4], image[0, 0]])
