"""Truth as tensors against the same truth written out by hand, pixel by pixel."""

import numpy as np
import pytest
import torch

from gim.errors import ShapeError
from gim.geometry.homography import apply_homography
from gim.training.samples import DepthView, Homography, Labels, Posed
from gim.training.truth import HomographyBatch, PosedBatch, Views, interpolate_depth, truth_batch

_SIZE = (40, 30)
_VIEWS = Views([_SIZE])


def _slanted_depth(K: np.ndarray, normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth of the plane normal . X = distance seen by a camera at the origin."""
    x, y = np.meshgrid(np.arange(_SIZE[0]), np.arange(_SIZE[1]))
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
    return (distance / (rays @ normal)).astype(np.float32)


def _posed_plane(A0: np.ndarray, A1: np.ndarray) -> tuple[Posed, np.ndarray]:
    """A slanted plane before two cameras, and the homography that it makes between the two (warped) images."""
    K = np.array([[30.0, 0, 19.5], [0, 30, 14.5], [0, 0, 1]])
    angle = 0.1
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t, normal, distance = np.array([0.3, 0.05, 0.02]), np.array([0.2, -0.1, 1.0]), 4.0
    normal1 = R @ normal
    views = [
        DepthView(_slanted_depth(K, n, d), K, A)
        for n, d, A in ((normal, distance, A0), (normal1, distance + normal1 @ t, A1))
    ]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    H = K @ (R + np.outer(t, normal) / distance) @ np.linalg.inv(K)  # Hartley and Zisserman, 13.2
    return Posed(views[0], views[1], T), A1 @ H @ np.linalg.inv(A0)


def _grid() -> torch.Tensor:
    x, y = np.meshgrid(np.linspace(-0.4, 39.4, 23), np.linspace(-0.4, 29.4, 19))
    return torch.from_numpy(np.stack([x.ravel(), y.ravel()], -1)[None].astype(np.float32))


@pytest.mark.parametrize("direction", ["to_image1", "to_image0"])
def test_a_plane_seen_by_posed_cameras_is_its_homography(direction: str) -> None:
    A0 = np.array([[0.9, 0.1, 2.0], [-0.05, 1.1, -1.0], [1e-3, 0, 1]])
    A1 = np.array([[1.2, 0, -3.0], [0.1, 0.8, 2.5], [0, 2e-3, 1]])
    posed, H01 = _posed_plane(A0, A1)
    H = H01 if direction == "to_image1" else np.linalg.inv(H01)
    batch = truth_batch([posed], _VIEWS, _VIEWS)
    assert isinstance(batch, PosedBatch)
    moved = getattr(batch, direction)(_grid())
    visible = moved.is_visible[0].numpy()
    expected = apply_homography(_grid()[0].numpy(), H)
    assert 100 < visible.sum() < visible.size
    assert np.abs(moved.positions[0].numpy() - expected)[visible].max() < 1e-3
    width, height = _SIZE
    is_outside = ~((expected >= -0.5) & (expected < (width - 0.5, height - 0.5))).all(1)
    assert not visible[is_outside].any()


def test_what_is_hidden_is_known_not_to_be_visible() -> None:
    posed, _ = _posed_plane(np.eye(3), np.eye(3))
    nearer = DepthView(posed.view1.depth / 2, posed.view1.K, np.eye(3))
    moved = truth_batch([Posed(posed.view0, nearer, posed.T_0to1)], _VIEWS, _VIEWS).to_image1(_grid())  # type: ignore[union-attr]
    assert moved.is_known.float().mean() > 0.5
    assert not moved.is_visible.any()


def test_where_the_other_depth_is_absent_nothing_is_known() -> None:
    posed, _ = _posed_plane(np.eye(3), np.eye(3))
    blind = DepthView(np.zeros_like(posed.view1.depth), posed.view1.K, np.eye(3))
    seen = truth_batch([posed], _VIEWS, _VIEWS).to_image1(_grid())  # type: ignore[union-attr]
    moved = truth_batch([Posed(posed.view0, blind, posed.T_0to1)], _VIEWS, _VIEWS).to_image1(_grid())  # type: ignore[union-attr]
    assert not moved.is_known[seen.is_visible].any()


def test_a_homography_moves_every_pixel_and_sees_only_valid_ones() -> None:
    H01 = np.array([[1.1, 0.05, -4.0], [-0.1, 0.9, 3.0], [1e-3, -1e-3, 1]])
    valid = torch.ones(1, _SIZE[1], _SIZE[0], dtype=torch.bool)
    valid[:, :, 20:] = False
    batch = truth_batch([Homography(H01)], _VIEWS, Views([_SIZE], valid))
    assert isinstance(batch, HomographyBatch)
    moved = batch.to_image1(_grid())
    expected = apply_homography(_grid()[0].numpy(), H01)
    assert np.abs(moved.positions[0].numpy() - expected).max() < 1e-4
    inside = ((expected >= -0.5) & (expected < (19.5, 29.5))).all(1)
    assert np.array_equal(moved.is_visible[0].numpy(), inside)
    back = batch.to_image0(moved.positions)
    assert (back.positions - _grid()).abs().max() < 1e-3


def test_behind_the_horizon_nothing_is_visible() -> None:
    H01 = np.array([[1.0, 0, 0], [0, 1, 0], [-0.05, 0, 1]])  # x = 20 goes to infinity
    moved = truth_batch([Homography(H01)], _VIEWS, _VIEWS).to_image1(_grid())  # type: ignore[union-attr]
    assert not moved.is_visible[0][_grid()[0, :, 0] >= 20].any()
    assert moved.positions.isfinite().all()


def test_depth_is_not_interpolated_over_edges() -> None:
    depth = torch.ones(1, 4, 6)
    depth[:, :, 3:] = 2
    depth[:, 3] = 0
    positions = torch.tensor([[[1.5, 0.5], [2.5, 0.5], [4.5, 1.0], [1.0, 2.5], [-0.1, 0.0]]], dtype=torch.float64)
    found, is_known = interpolate_depth(depth, positions)
    assert is_known[0].tolist() == [True, False, True, False, False]
    assert found[0, [0, 2]].tolist() == [1, 2]


def test_labels_are_padded_and_kinds_are_not_mixed() -> None:
    labels = [Labels(np.arange(8, dtype=np.float32).reshape(2, 4)), Labels(np.ones((1, 4), np.float32))]
    views = Views([_SIZE] * 2)
    batch = truth_batch(labels, views, views)
    assert batch.is_label.tolist() == [[True, True], [True, False]]  # type: ignore[union-attr]
    assert batch.points[0].tolist() == labels[0].points.tolist()  # type: ignore[union-attr]
    with pytest.raises(ShapeError, match="Homography, Labels"):
        truth_batch([labels[0], Homography(np.eye(3))], views, views)
