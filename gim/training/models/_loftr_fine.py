"""LoFTR's fine stage in training: windows of 5 x 5 around matched cells, and what a wrong place within one costs.

Offsets are in halves of a window, -1 to 1, which is two cells of the fine map or four pixels either way.
"""

from typing import Any

import torch
from kornia.feature import LoFTR
from torch.nn import functional

from gim.training.models._loftr_coarse import CellPairs
from gim.training.models._loftr_grid import STRIDE_PX

FINE_STRIDE_PX = 2
_WINDOW = 5
REACH_PX = FINE_STRIDE_PX * (_WINDOW // 2)  # of an offset of 1
OFFSETS_PER_CELL = STRIDE_PX / REACH_PX


def fine_windows(
    network: LoFTR, maps: tuple[torch.Tensor, torch.Tensor], tokens: tuple[torch.Tensor, torch.Tensor], pairs: CellPairs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of both windows of matched cells after attention within and between them: [M, 25, C] each.

    Args:
        network: its modules are used as the matcher uses them.
        maps: fine maps [B, C, H/2, W/2] of both images.
        tokens: coarse features [B, cells, C] of both images.
        pairs: M >= 1 of them.
    """
    # Kornia's modules pass each other a dictionary.
    data: dict[str, Any] = {
        "b_ids": pairs.batch,
        "i_ids": pairs.cells0,
        "j_ids": pairs.cells1,
        "stride_c": STRIDE_PX,
        "stride_f": FINE_STRIDE_PX,
    }
    windows0, windows1 = network.loftr_fine(*network.fine_preprocess(*maps, *tokens, data))
    return windows0, windows1


def is_within(offsets: torch.Tensor) -> torch.Tensor:
    """Whether offsets [..., 2] lie inside the window (`fine_correct_thr` 1.0 of the published code)."""
    return offsets.abs().amax(-1) < 1


def window_centres(windows: torch.Tensor) -> torch.Tensor:
    """Features [M, C] at the matched cells themselves."""
    return windows[:, _WINDOW**2 // 2]


def sample_windows(windows: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Features [M, C] within windows [M, 25, C] at offsets [M, 2] from their centres, bilinear."""
    squares = windows.transpose(1, 2).reshape(len(windows), -1, _WINDOW, _WINDOW)
    places = offsets.to(windows.dtype)[:, None, None]
    return functional.grid_sample(squares, places, mode="bilinear", align_corners=True)[..., 0, 0]


def expected_offsets(features: torch.Tensor, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where in windows of image 1 features of image 0 lie (LoFTR, Sec. 3.4).

    Args:
        features: [M, C].
        windows: [M, 25, C].

    Returns:
        Offsets [M, 2], the mean of the soft-max of similarities; their standard deviation [M], x and y added.
    """
    similarity = torch.bmm(windows, features[:, :, None])[..., 0] / features.shape[-1] ** 0.5
    heat = similarity.softmax(1)
    steps = torch.linspace(-1, 1, _WINDOW, device=heat.device, dtype=heat.dtype)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([columns, rows], -1).reshape(-1, 2)
    mean = heat @ places
    variance = heat.detach() @ places**2 - mean.detach() ** 2
    return mean, variance.clamp(min=1e-10).sqrt().sum(-1)


def fine_loss(offsets: torch.Tensor, deviation: torch.Tensor, true_offsets: torch.Tensor) -> torch.Tensor:
    """Squared distances to the true offsets, weighted by certainty (LoFTR, Sec. 3.5, weighted by 1/std as published).

    Weights are 1/std over their mean, and have no gradient: to be unsure is no way to be cheap.

    Args:
        offsets: [M, 2] found, M >= 1.
        deviation: [M] of each.
        true_offsets: [M, 2].

    Returns:
        A scalar.
    """
    certainty = 1 / deviation.detach().clamp(min=1e-10)
    squares = (offsets - true_offsets.to(offsets.dtype)).square().sum(-1)
    return (squares * certainty / certainty.mean()).mean()
