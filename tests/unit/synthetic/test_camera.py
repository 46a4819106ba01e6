import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.synthetic import camera as cameras
from gim.synthetic.camera import Camera, intrinsics, look_at
from gim.synthetic.raycast import project

PATHS = {
    "walk": cameras.walk((0.0, 0.0, 1.6)),
    "orbit": cameras.orbit((0.0, 0.0, 1.0), radius=2.0, height=0.5),
    "strafe": cameras.strafe((0.0, 0.0, 1.6)),
    "pan": cameras.pan((0.0, 0.0, 1.6)),
    "fly": cameras.fly((0.0, 0.0, 12.0), turn_deg_per_second=5.0),
    "back_and_forth": cameras.back_and_forth(cameras.walk((0.0, 0.0, 1.6)), 10.0),
}


@pytest.mark.parametrize("name", PATHS)
@given(seconds=st.floats(0, 60))
def test_path_at_any_time_is_a_smooth_rigid_pose(name: str, seconds: float) -> None:
    pose, next_pose = PATHS[name](seconds), PATHS[name](seconds + 1e-3)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert np.abs(next_pose - pose).max() < 0.02


def test_look_at_when_projected_then_target_is_in_the_middle_and_up_is_up() -> None:
    camera = Camera(intrinsics(640, 360, 70.0), look_at(np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 2.0])), 640, 360)
    (target, above), depth = project(camera, np.array([[4.0, 6.0, 2.0], [4.0, 6.0, 2.5]]))
    np.testing.assert_allclose(target, (319.5, 179.5), atol=1e-9)
    assert depth[0] == pytest.approx(np.sqrt(26))
    assert above[1] < target[1]
    assert above[0] == pytest.approx(target[0])


def test_supersampled_when_a_pixel_is_split_then_its_samples_surround_its_centre() -> None:
    camera = Camera(intrinsics(8, 6, 60.0), PATHS["walk"](1.0), 8, 6)
    world = camera.centre + 5.0 * (np.array([[3.0, 2.0, 1.0]]) @ camera.rays().T)
    fine, _ = project(camera.supersampled(3), world)
    np.testing.assert_allclose(fine, [[10.0, 7.0]], atol=1e-9)  # samples 9, 10, 11 and 6, 7, 8: the middle ones


def test_pan_at_zero_speed_never_moves() -> None:
    still = cameras.pan((0.0, 0.0, 1.6), deg_per_second=0.0)
    np.testing.assert_array_equal(still(0.0), still(17.3))
