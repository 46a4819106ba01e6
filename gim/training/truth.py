"""Truth as tensors: where the pixels of one image lie in the other, for a batch of samples of one kind.

Depth is interpolated as inverse depth, which is affine in the pixels of a plane (Hartley and Zisserman, 13.1), so that
a place on a slanted wall is exact; between pixels of two surfaces it is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from gim.errors import ShapeError
from gim.training.batches import LabelsBatch, Moved, Tensors
from gim.training.samples import DepthView, Homography, Labels, Posed, Truth

_DEPTH_STEP = 0.05  # of neighbouring pixels, as a share: more is the edge of a surface
_DEPTH_TOLERANCE = 0.05  # of the two images' depths of one point: more is an occlusion (DKM, Sec. 4.1)


@dataclass(frozen=True, slots=True)
class Frame(Tensors):
    """Where the pixels of an image end."""

    size: torch.Tensor  # float32 [B, 2] (width, height)
    valid: torch.Tensor | None = None  # bool [B, H, W]; None: all pixels of the size

    def holds(self, positions: torch.Tensor) -> torch.Tensor:
        """Whether positions [B, N, 2] lie on a valid pixel: bool [B, N]."""
        upper = self.size[:, None] - 0.5
        inside = ((positions >= -0.5) & (positions < upper)).all(-1)
        if self.valid is None:
            return inside
        height, width = self.valid.shape[1:]
        # What is not inside may be infinite or no number: any pixel is asked, and its answer not used.
        x, y = torch.where(inside[..., None], positions, 0.0).add(0.5).floor().long().unbind(-1)
        index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
        return inside & self.valid.flatten(1).gather(1, index)


@dataclass(frozen=True, slots=True)
class HomographyBatch(Tensors):
    """Planes: the truth of every pixel."""

    H01: torch.Tensor  # float64 [B, 3, 3]
    H10: torch.Tensor
    frame0: Frame
    frame1: Frame

    def to_image1(self, positions: torch.Tensor) -> Moved:
        """Where positions [B, N, 2] of image 0 lie in image 1."""
        return _moved_by(self.H01, positions, self.frame0, self.frame1)

    def to_image0(self, positions: torch.Tensor) -> Moved:
        """Where positions [B, N, 2] of image 1 lie in image 0."""
        return _moved_by(self.H10, positions, self.frame1, self.frame0)


@dataclass(frozen=True, slots=True)
class DepthBatch(Tensors):
    """One posed image of every pair."""

    depth: torch.Tensor  # float32 [B, h, w], 0 = not known
    K: torch.Tensor  # float64 [B, 3, 3]
    K_inverse: torch.Tensor
    to_image: torch.Tensor  # float64 [B, 3, 3]: pixels of the depth map -> pixels of the image
    from_image: torch.Tensor


@dataclass(frozen=True, slots=True)
class PosedBatch(Tensors):
    """Posed images with depth: the truth of every pixel whose depth is known."""

    view0: DepthBatch
    view1: DepthBatch
    T_0to1: torch.Tensor  # float64 [B, 4, 4]
    T_1to0: torch.Tensor
    frame0: Frame
    frame1: Frame

    def to_image1(self, positions: torch.Tensor) -> Moved:
        """Where positions [B, N, 2] of image 0 lie in image 1."""
        return _moved_by_depth(positions, self.view0, self.view1, self.T_0to1, self.frame0, self.frame1)

    def to_image0(self, positions: torch.Tensor) -> Moved:
        """Where positions [B, N, 2] of image 1 lie in image 0."""
        return _moved_by_depth(positions, self.view1, self.view0, self.T_1to0, self.frame1, self.frame0)


TruthBatch = LabelsBatch | HomographyBatch | PosedBatch


class Views(NamedTuple):
    """One side of a batch's images, as a truth has to know them."""

    sizes: Sequence[tuple[int, int]]  # (width, height) of each
    valid: torch.Tensor | None = None  # bool [B, H, W], where images are padded

    def frame(self) -> Frame:
        """As tensors."""
        return Frame(torch.tensor(self.sizes, dtype=torch.float32), self.valid)


def truth_batch(truths: Sequence[Truth], views0: Views, views1: Views) -> TruthBatch:
    """The truths of samples, all of one kind, as one.

    Raises:
        ShapeError: they are of several kinds; a micro-batch holds one part of the mixture.
    """
    frames = views0.frame(), views1.frame()
    labels = [item for item in truths if isinstance(item, Labels)]
    planes = [item for item in truths if isinstance(item, Homography)]
    posed = [item for item in truths if isinstance(item, Posed)]
    if max(len(labels), len(planes), len(posed)) < len(truths):
        raise ShapeError(f"a batch of {', '.join(sorted({type(item).__name__ for item in truths}))}: one kind each")
    if labels:
        return labels_batch(labels)
    if planes:
        H01 = _stack([item.H01 for item in planes])
        return HomographyBatch(H01, torch.linalg.inv(H01), *frames)
    T_0to1 = _stack([item.T_0to1 for item in posed])
    depths = [_depth_batch([getattr(item, name) for item in posed]) for name in ("view0", "view1")]
    return PosedBatch(depths[0], depths[1], T_0to1, torch.linalg.inv(T_0to1), *frames)


def labels_batch(labels: Sequence[Labels]) -> LabelsBatch:
    """Labels of several pairs, padded with zeros."""
    most = max((len(item.points) for item in labels), default=0)
    points = np.zeros((len(labels), most, 4), np.float32)
    for row, item in zip(points, labels, strict=True):
        row[: len(item.points)] = item.points
    counts = torch.tensor([len(item.points) for item in labels])
    return LabelsBatch(torch.from_numpy(points), torch.arange(most) < counts[:, None])


def _depth_batch(views: Sequence[DepthView]) -> DepthBatch:
    height, width = (max(view.depth.shape[axis] for view in views) for axis in (0, 1))
    depth = np.zeros((len(views), height, width), np.float32)
    for plane, view in zip(depth, views, strict=True):
        plane[: view.depth.shape[0], : view.depth.shape[1]] = view.depth
    K, to_image = _stack([view.K for view in views]), _stack([view.to_image for view in views])
    return DepthBatch(torch.from_numpy(depth), K, torch.linalg.inv(K), to_image, torch.linalg.inv(to_image))


def _stack(matrices: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(item, np.float64) for item in matrices]))


def _mapped(matrices: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """float64 [B, N, 3]: homogeneous positions under matrices [B, 3, 3]."""
    places = positions.to(matrices.dtype)
    return torch.cat([places, torch.ones_like(places[..., :1])], -1) @ matrices.transpose(1, 2)


def _divided(homogeneous: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions, and whether they lie in front of the horizon."""
    w = homogeneous[..., 2:]
    in_front = w.squeeze(-1) > 1e-9
    return homogeneous[..., :2] / torch.where(in_front[..., None], w, 1.0), in_front


def _moved_by(H: torch.Tensor, positions: torch.Tensor, source: Frame, target: Frame) -> Moved:
    moved, in_front = _divided(_mapped(H, positions))
    is_known = source.holds(positions)
    return Moved(moved.float(), is_known, is_known & in_front & target.holds(moved))


def _moved_by_depth(
    positions: torch.Tensor, view: DepthBatch, other: DepthBatch, T: torch.Tensor, source: Frame, target: Frame
) -> Moved:
    recorded, _ = _divided(_mapped(view.from_image, positions))
    depth, has_depth = interpolate_depth(view.depth, recorded)
    rays = _mapped(view.K_inverse, recorded)
    points = (rays * depth[..., None]) @ T[:, :3, :3].transpose(1, 2) + T[:, None, :3, 3]
    seen, in_front = _divided(points @ other.K.transpose(1, 2))
    moved, _ = _divided(_mapped(other.to_image, seen))
    is_inside = in_front & target.holds(moved)
    depth_there, has_depth_there = interpolate_depth(other.depth, seen)
    is_same = (depth_there - points[..., 2]).abs() < _DEPTH_TOLERANCE * depth_there
    # Inside the other image, where its depth is not known, nothing says whether the point is hidden.
    is_known = source.holds(positions) & has_depth & (~is_inside | has_depth_there)
    return Moved(moved.float(), is_known, is_known & is_inside & is_same)


def interpolate_depth(depth: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth between pixels.

    Args:
        depth: float32 [B, h, w], 0 = not known.
        positions: [B, N, 2] pixels of the depth map.

    Returns:
        [B, N] of the positions' dtype, 1 where not known; bool [B, N], known: all four pixels around are, and of one
        surface.
    """
    height, width = depth.shape[1:]
    inside = ((positions >= 0) & (positions <= positions.new_tensor([width - 1, height - 1]))).all(-1)
    places = torch.where(inside[..., None], positions, 0.0)
    x0, y0 = places.floor().long().unbind(-1)
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    flat = depth.flatten(1)
    corners = torch.stack([flat.gather(1, y * width + x) for y in (y0, y1) for x in (x0, x1)], -1).to(positions.dtype)
    nearest, farthest = corners.amin(-1), corners.amax(-1)
    is_known = inside & (nearest > 0) & (farthest < (1 + _DEPTH_STEP) * nearest)
    inverse = 1 / torch.where(is_known[..., None], corners, 1.0)
    u, v = (places - places.floor()).unbind(-1)
    weights = torch.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v], -1)
    return 1 / (inverse * weights).sum(-1), is_known
