"""Where detected keypoints near labels go: along with the label, turned and scaled as the labels around it are."""

import torch

from gim.training.batches import LabelsBatch

_FAR = 1e7  # pixels; its square is still a number in float32
_NUM_NEAREST = 8  # labels that say how the surroundings are turned and scaled


def label_distances(
    keypoints0: torch.Tensor, keypoints1: torch.Tensor, truth: LabelsBatch, radius_px: float
) -> torch.Tensor:
    """How far from each keypoint of image 1 each of image 0 comes to lie when it is moved along with its label.

    Args:
        keypoints0: [B, M, 2] pixels.
        keypoints1: [B, N, 2] pixels.
        truth: the labels.
        radius_px: a keypoint farther than this from all labels goes nowhere.

    Returns:
        [B, M, N] pixels, infinite for keypoints that go nowhere.
    """
    if not truth.points.shape[1]:
        return keypoints0.new_full((*keypoints0.shape[:2], keypoints1.shape[1]), torch.inf)
    moved, is_near = moved_with_labels(keypoints0, truth, radius_px)
    return pixel_distances(moved, keypoints1).masked_fill(~is_near[..., None], torch.inf)


def moved_with_labels(
    keypoints0: torch.Tensor, truth: LabelsBatch, radius_px: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places [B, M, 2] in image 1 of keypoints [B, M, 2] of image 0, and whether a label is near enough to tell.

    The offset from the nearest label is turned and scaled by the similarity that fits best (least squares) how the
    labels nearest to it are spread in both images: a sample may be turned by any angle, and an offset of a few pixels
    would point elsewhere. A label alone moves its surroundings without turning them.
    """
    labels0, labels1 = truth.points[..., :2], truth.points[..., 2:]
    distances = pixel_distances(keypoints0, labels0).masked_fill(~truth.is_label[:, None], torch.inf)
    nearest, index = distances.min(2)
    pair = index[..., None].expand(-1, -1, 2)
    origin0, origin1 = labels0.gather(1, pair), labels1.gather(1, pair)  # [B, M, 2]
    turn = _similarities(truth).gather(1, pair)
    offset = keypoints0 - origin0
    turned = _times(turn, offset)
    return origin1 + turned, nearest <= radius_px


def _similarities(truth: LabelsBatch) -> torch.Tensor:
    """Turn and scale around each label, as complex numbers [B, L, 2]: least squares over the labels nearest to it."""
    labels0, labels1 = truth.points[..., :2], truth.points[..., 2:]
    distances = pixel_distances(labels0, labels0).masked_fill(~truth.is_label[:, None], torch.inf)
    num = min(_NUM_NEAREST + 1, labels0.shape[1])  # the label itself is among them, and adds nothing
    nearest, index = distances.topk(num, largest=False)
    index = index.flatten(1)[..., None].expand(-1, -1, 2)
    spread0, spread1 = (
        (labels.gather(1, index).view(len(labels), -1, num, 2) - labels[:, :, None]) * nearest.isfinite()[..., None]
        for labels in (labels0, labels1)
    )
    squares = spread0.square().sum((2, 3))
    conjugate = spread0 * spread0.new_tensor([1.0, -1.0])
    fitted = _times(conjugate, spread1).sum(2) / squares.clamp(min=1e-6)[..., None]
    alone = spread0.new_tensor([1.0, 0.0])
    return torch.where((squares > 0)[..., None], fitted, alone)


def _times(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Product of complex numbers [..., 2]."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    return torch.stack([real, a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]], -1)


def pixel_distances(positions0: torch.Tensor, positions1: torch.Tensor) -> torch.Tensor:
    """Distances float32 [B, M, N] of positions [B, M, 2] and [B, N, 2], pixels; large where a position is no number.

    By differences: the quicker way by products is wrong by a tenth of a pixel a thousand pixels from the origin.
    """
    finite0, finite1 = (
        positions.float().nan_to_num(0.0, _FAR, -_FAR).clamp(-_FAR, _FAR) for positions in (positions0, positions1)
    )
    return torch.cdist(finite0, finite1, compute_mode="donot_use_mm_for_euclid_dist")
