import numpy as np

from gim.reconstruction import picture
from gim.reconstruction.picture import DrawnCamera, draw_model


def camera(centre, pitch_deg=0.0, yaw_deg=0.0):
    """Level but for its pitch (upwards) and yaw; the model's y points down."""
    pitch, yaw = np.radians([pitch_deg, yaw_deg])
    up = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    aside = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    to_world = aside @ up
    rays = np.array([[-0.5, -0.4, 1], [0.5, -0.4, 1], [0.5, 0.4, 1], [-0.5, 0.4, 1]])
    return DrawnCamera(np.array(centre, float), rays @ to_world.T, to_world @ [0, 1, 0])


def test_down_is_found_where_all_cameras_look_up():
    cameras = [camera((x, 0, 0), pitch_deg=25, yaw_deg=yaw) for x, yaw in ((0, -40), (1, 0), (2, 50))]
    mean = np.mean([item.down for item in cameras], axis=0)
    assert np.degrees(np.arccos(mean[1] / np.linalg.norm(mean))) > 15
    assert np.degrees(np.arccos(picture._down(cameras)[1])) < 2


def test_down_of_cameras_that_all_look_one_way_is_theirs():
    cameras = [camera((x, 0, 0)) for x in range(3)]
    np.testing.assert_allclose(picture._down(cameras), [0, 1, 0], atol=1e-9)


def test_a_point_far_above_is_in_the_side_view_only_above():
    rng = np.random.default_rng(0)
    ground = np.column_stack([rng.uniform(-10, 10, 500), np.full(500, 1.0), rng.uniform(-3, 3, 500)])
    tower = np.tile([[2.0, -6.0, 0.0]], (20, 1))
    colours = np.vstack([np.tile([[0, 0, 255]], (500, 1)), np.tile([[255, 0, 0]], (20, 1))]).astype(np.uint8)
    cameras = [camera((x, 0, 0)) for x in (-5.0, 5.0)]
    drawn = draw_model(np.vstack([ground, tower]), colours, cameras, "a title")
    assert drawn.dtype == np.uint8
    assert drawn.shape[1:] == (1600, 3)
    red = np.argwhere((drawn[..., 0] > 150) & (drawn[..., 2] < 60))
    blue = np.argwhere((drawn[..., 2] > 150) & (drawn[..., 0] < 60))
    split = np.flatnonzero((drawn == picture._GAP).all(axis=(1, 2)))[0]
    red_side, blue_side = red[red[:, 0] > split], blue[blue[:, 0] > split]
    assert red_side[:, 0].max() < blue_side[:, 0].min()
    assert (red[:, 0] < split).any()
    # To one scale: the ground is as wide in both views.
    widths = [np.ptp(part[:, 1]) for part in (blue[blue[:, 0] < split], blue_side)]
    assert abs(widths[0] - widths[1]) <= 4


def test_a_point_at_the_horizon_does_not_shrink_the_rest():
    points = np.random.default_rng(0).normal(size=(300, 3))
    cameras = [camera((x, 0, -4.0)) for x in (-1.0, 1.0)]
    white = np.full((301, 3), 255, np.uint8)
    far = draw_model(np.vstack([points, [[0, 0, 1e4]]]), white, cameras, "")
    np.testing.assert_array_equal(far, draw_model(points, white[:300], cameras, ""))


def test_a_model_without_points_has_a_picture():
    assert draw_model(np.empty((0, 3)), np.empty((0, 3), np.uint8), [camera((0, 0, 0))], "none").shape[1] == 1600
