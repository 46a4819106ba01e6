"""The renderer against a slow ray cast, and against the truth by measuring real pixels."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.records import Float64Array
from gim.synthetic import camera as cameras
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.materials import Material
from gim.synthetic.raycast import BACKGROUND, cast, project
from gim.synthetic.render import depth_at, render_frame, visible_surfaces
from gim.synthetic.ripmap import Ripmap, shrink
from gim.synthetic.scene import Scene, Sky, Surface
from gim.synthetic.worlds import generate
from tests.synthetic import posed_pair, world_and_path

SIZE = (96, 64)


def intersect(surface: Float64Array, centre: Float64Array, ray: Float64Array) -> float:
    """Distance along `ray` to one parallelogram by solving its 3 x 3 system; inf for a miss. The obvious way."""
    origin, edge_u, edge_v = surface
    system = np.stack([edge_u, edge_v, -ray], axis=1)
    if abs(np.linalg.det(system)) < 1e-12:
        return np.inf
    u, v, distance = np.linalg.solve(system, centre - origin)
    return float(distance) if 0 <= u <= 1 and 0 <= v <= 1 and distance > 0 else np.inf


def slow_cast(surfaces: Float64Array, camera: Camera, x: float, y: float) -> tuple[int, float]:
    ray = camera.T_camera_to_world[:3, :3] @ np.linalg.inv(camera.K) @ (x, y, 1.0)
    distances = [intersect(surface, camera.centre, ray) for surface in surfaces]
    nearest = int(np.argmin(distances))
    return (nearest, distances[nearest]) if np.isfinite(distances[nearest]) else (BACKGROUND, np.nan)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), seconds=st.floats(0, 6))
def test_cast_on_random_parallelograms_equals_the_slow_reference(seed: int, seconds: float) -> None:
    rng = np.random.default_rng(seed)
    surfaces = np.concatenate([rng.uniform(-4, 4, (25, 1, 3)), rng.normal(0, 2, (25, 2, 3))], axis=1)
    camera = Camera(intrinsics(*SIZE, 70.0), cameras.orbit((0.0, 0.0, 0.0), radius=4.0, height=1.0)(seconds), *SIZE)
    points = rng.uniform(-20, 120, (30, 2))
    index, depth = cast(surfaces, camera, points)
    expected = [slow_cast(surfaces, camera, x, y) for x, y in points]
    np.testing.assert_array_equal(index, [surface for surface, _ in expected])
    np.testing.assert_allclose(depth, [distance for _, distance in expected], rtol=1e-9)


@pytest.mark.parametrize("kind", ["street", "room", "terrain"])
def test_visible_surfaces_of_every_world_equal_the_ray_cast(kind: str) -> None:
    scene, path = world_and_path(kind, 3)
    camera = Camera(intrinsics(*SIZE, 70.0), path(1.3), *SIZE)
    index = visible_surfaces(scene.geometry, camera)
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    expected, _ = cast(scene.geometry, camera, np.column_stack([x.ravel(), y.ravel()]).astype(np.float64))
    assert (index.ravel() == expected).mean() > 0.998  # float32 may decide an edge the other way
    assert len(np.unique(expected)) > 15


def test_visible_surfaces_when_a_surface_passes_the_camera_keeps_the_part_ahead() -> None:
    ground = np.array([[[-50.0, -50.0, 0.0], [100.0, 0.0, 0.0], [0.0, 100.0, 0.0]]])
    camera = Camera(intrinsics(*SIZE, 70.0), cameras.strafe((0.0, 0.0, 1.5))(0.0), *SIZE)
    index = visible_surfaces(ground, camera)
    assert (index[:31] == BACKGROUND).all()
    assert (index[34:] == 0).all()


def test_depth_at_the_sky_is_nan_and_on_the_ground_follows_the_eye_height() -> None:
    scene = generate("street", 1, length=24.0)
    camera = Camera(intrinsics(*SIZE, 70.0), cameras.strafe((2.0, 0.0, 1.6))(0.0), *SIZE)
    below = np.array([[47.5, 63.0]])
    sky, road = depth_at(scene, camera, np.array([[47.5, 0.0]])), depth_at(scene, camera, below)
    assert np.isnan(sky).all()
    assert road[0] == pytest.approx(1.6 * camera.K[1, 1] / (63.0 - camera.K[1, 2]))


@pytest.mark.parametrize("kind", ["room", "street", "terrain"])
def test_rendered_views_when_measured_in_pixels_agree_with_the_transfer(kind: str) -> None:
    """Warp image 1 onto image 0 by the exact transfer of every pixel; what shift is left, ECC finds: none."""
    pair = posed_pair(kind, 1, size=(320, 240), gap_seconds=0.4)
    x, y = np.meshgrid(np.arange(320.0), np.arange(240.0))
    pixels = np.column_stack([x.ravel(), y.ravel()])
    moved, visible = pair.transfer(pixels)
    maps = np.nan_to_num(moved, nan=-1.0).astype(np.float32).reshape(240, 320, 2)
    grey0, grey1 = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (pair.image0, pair.image1))
    aligned = cv2.remap(grey1, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC)
    mask = cv2.erode(visible.reshape(240, 320).astype(np.uint8), np.ones((5, 5), np.uint8))
    shifts = []
    for top, left in itertools.product(range(16, 200, 48), range(16, 280, 48)):
        window = np.s_[top : top + 48, left : left + 48]
        if mask[window].mean() > 0.9 and grey0[window].std() > 12:
            shifts.append(_residual_shift(grey0[window], aligned[window], mask[window]))
    assert len(shifts) >= 6
    assert np.linalg.norm(np.mean(shifts, axis=0)) < 0.02
    assert np.mean(np.linalg.norm(shifts, axis=1)) < 0.05


def _residual_shift(image0: np.ndarray, image1: np.ndarray, mask: np.ndarray) -> Float64Array:
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
    _, warp = cv2.findTransformECC(
        image0, image1, np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION, stop, mask, 3
    )
    return warp[:, 2].astype(np.float64)


@pytest.mark.parametrize("supersample", [1, 2, 3])
@pytest.mark.parametrize("texels", [100, 400, 1000])  # magnified, about one to one, from a reduced level
def test_a_dot_of_a_texture_appears_where_its_world_position_projects(texels: int, supersample: int) -> None:
    """The pixel-centre convention, end to end: texel centre -> world -> pixel centre."""
    place = np.array([0.37, 0.58])  # u, v of the dot on a 4 m x 4 m wall
    y, x = np.mgrid[:texels, :texels] + 0.5
    dot = np.exp(-((x / texels - place[0]) ** 2 + (y / texels - place[1]) ** 2) / (2 * 0.02**2))
    texture = np.repeat((dot * 200).astype(np.uint8)[..., None], 3, axis=2)
    wall = Surface((5.0, 2.0, 3.6), (0.0, -4.0, 0.0), (0.0, 0.0, -4.0), Material("plaster", 0))
    scene = Scene("dot", 0, (wall,), Sky(haze_metres=1e9))
    scene.__dict__["_painted"] = {0: Ripmap.of(texture)}
    camera = Camera(intrinsics(320, 240, 60.0), cameras.strafe((0.0, 0.0, 1.6))(0.0), 320, 240)
    world = np.array([[5.0, 2.0 - 4.0 * place[0], 3.6 - 4.0 * place[1]]])
    expected = project(camera, world)[0][0]
    image = render_frame(scene, camera, supersample=supersample)[..., 1].astype(np.float64)
    left, top = np.round(expected).astype(int) - 20
    window = image[top : top + 41, left : left + 41]
    rows, columns = np.mgrid[top : top + 41, left : left + 41]
    found = np.array([(columns * window).sum(), (rows * window).sum()]) / window.sum()
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_render_frame_when_supersampled_averages_light_not_code_values() -> None:
    checker = np.zeros((64, 64, 3), np.uint8)
    checker[::2, ::2] = checker[1::2, 1::2] = 255
    assert shrink(checker, 32, 32)[8, 8, 0] in (187, 188)  # half the light of white, as sRGB


def test_render_frame_at_more_samples_converges_to_the_same_picture() -> None:
    scene, path = world_and_path("room", 2)
    camera = Camera(intrinsics(160, 120, 65.0), path(0.5), 160, 120)
    coarse, fine, finest = (render_frame(scene, camera, supersample=s) for s in (1, 2, 4))
    assert cv2.PSNR(fine, finest) > cv2.PSNR(coarse, finest) > 20
    assert abs(float(fine.mean()) - float(finest.mean())) < 0.5


def test_generate_with_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    camera = Camera(intrinsics(80, 60, 65.0), cameras.orbit((0, 0, 1), radius=2.0, height=0.5)(0.0), 80, 60)
    one, same, other = (
        render_frame(generate("room", seed, texels_per_metre=24.0), camera, supersample=1) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5
