"""How far keypoints lie from each other's epipolar lines: what cameras say where no depth is known."""

import torch

from gim.training.truth import PosedBatch


def fundamental_matrices(truth: PosedBatch) -> torch.Tensor:
    """F01, float64 [B, 3, 3], of the pixels of the images: x1^T F01 x0 = 0 (Hartley and Zisserman, Eq. 9.12)."""
    R, t = truth.T_0to1[:, :3, :3], truth.T_0to1[:, :3, 3]
    essential = torch.linalg.cross(t[:, :, None], R, dim=1)
    to_ray0, to_ray1 = (view.K_inverse @ view.from_image for view in (truth.view0, truth.view1))
    F01: torch.Tensor = to_ray1.transpose(1, 2) @ essential @ to_ray0
    return F01


def epipolar_distances(
    keypoints0: torch.Tensor, keypoints1: torch.Tensor, F01: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances of all pairs of keypoints from their epipolar lines (Hartley and Zisserman, Sec. 9.2).

    Args:
        keypoints0: [B, M, 2] pixels.
        keypoints1: [B, N, 2] pixels.
        F01: [B, 3, 3]; zero for cameras in one place, where every pixel lies on every line.

    Returns:
        [B, M, N] pixels: of keypoint 0 from the line of keypoint 1, in image 0; and the other way, in image 1.
    """
    x0, x1 = (
        torch.cat([keypoints, torch.ones_like(keypoints[..., :1])], -1).to(F01.dtype)
        for keypoints in (keypoints0, keypoints1)
    )
    lines1, lines0 = x0 @ F01.transpose(1, 2), x1 @ F01
    products = (lines1 @ x1.transpose(1, 2)).abs()  # |x1^T F x0|, the same for both images
    lengths1, lengths0 = (lines[..., :2].norm(dim=-1).clamp(min=1e-300) for lines in (lines1, lines0))
    return products / lengths0[:, None], products / lengths1[:, :, None]
