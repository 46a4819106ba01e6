"""LoFTR in two halves: what an image gives alone, and what a pair of images gives. Kornia's modules, our order.

Positions here are the network's own: pixels of its input, origin at the CORNER of the top-left pixel.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kornia.feature import LoFTR
from kornia.feature.loftr.loftr import default_cfg

from gim.matchers.nn.dual_softmax import match_dual_softmax
from gim.matchers.nn.fusion import fuse_normalisation
from gim.matchers.nn.resnet_fpn import ResNet50FPN
from gim.records import BoolArray, Uint8Array

Matches = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

_COARSE_STRIDE_PX = 8
_FINE_STRIDE_PX = 2
_BACKBONE_PIXELS = 2 * 1024**2  # encoded at a time: 0.5 GB per map of 256 channels at half size, and enough for a GPU
_FINE_MATCHES = 4096  # refined at a time: 25 tokens each, so 50 MB per map of 128 channels


@dataclass(frozen=True, slots=True)
class ImageMaps:
    """What LoFTR computes of one image alone."""

    coarse: torch.Tensor  # [256, H/8, W/8], position encoding added
    fine: torch.Tensor  # [128, H/2, W/2]
    usable: torch.Tensor | None  # bool [H/8 * W/8], coarse cells that may be matched; None = all


def loftr_network(*, has_corrected_positions: bool = False) -> LoFTR:
    """LoFTR on grey images, with the names of the published weights (Sun et al., CVPR 2021).

    Args:
        has_corrected_positions: positions are encoded as in the paper, and not as the first release computed them.
    """
    return LoFTR(pretrained=None, config=_settings(has_corrected_positions=has_corrected_positions))


def gim_loftr_network(*, has_corrected_positions: bool = False) -> LoFTR:
    """LoFTR as GIM trained it: on RGB, a larger backbone, no coarse context in the fine stage."""
    config = _settings(has_corrected_positions=has_corrected_positions)
    config["fine_concat_coarse_feat"] = False
    network = LoFTR(pretrained=None, config=config)
    network.backbone = ResNet50FPN()  # type: ignore[assignment]  # kornia names only its own two
    return network


def _settings(*, has_corrected_positions: bool) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(default_cfg)
    config["coarse"]["temp_bug_fix"] = has_corrected_positions
    return config


def fuse_backbone(network: LoFTR) -> None:
    """Join layers of GIM's backbone once its weights are loaded: an eighth less time, the same maps to rounding."""
    # Not of kornia's, whose blocks do not list their layers in the order they run.
    if isinstance(network.backbone, ResNet50FPN):
        fuse_normalisation(network.backbone)


class PairwiseLoFTR:
    """Runs a LoFTR network: maps of images, then matches of pairs of maps."""

    def __init__(self, network: Any, *, match_threshold: float, border_cells: int, temperature: float) -> None:
        self.network = network
        self.match_threshold = match_threshold
        self.border_cells = border_cells
        self.temperature = temperature

    def encode_images(self, images: Uint8Array, usable: Sequence[BoolArray | None]) -> list[ImageMaps]:
        """Maps of each of some images.

        Args:
            images: uint8 [B, H, W, channels], sides multiples of 8.
            usable: for each image bool [H/8 * W/8], the coarse cells that may be matched; None = all.
        """
        device = next(self.network.parameters()).device
        # Channels stay the last in memory, which the convolutions keep: a third less time on a processor.
        batch = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
        at_once = max(_BACKBONE_PIXELS // batch[0, 0].numel(), 1)
        parts = [self.encode(part.float().div_(255)) for part in torch.split(batch, at_once)]
        maps = [one for coarse, fine in parts for one in zip(coarse, fine, strict=True)]
        return [
            # Copies: a slice would keep the maps of the whole batch alive.
            ImageMaps(coarse.clone(), fine.clone(), None if may is None else torch.from_numpy(may).to(device))
            for (coarse, fine), may in zip(maps, usable, strict=True)
        ]

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coarse maps with position encoding [B, 256, H/8, W/8], and fine maps [B, 128, H/2, W/2].

        Args:
            images: [B, channels, H, W] in [0, 1], sides multiples of 8.
        """
        features = self.network.extract_features(images)
        return features["coarse"], features["fine"]

    def match(self, pairs: list[tuple[ImageMaps, ImageMaps]]) -> list[Matches]:
        """Matches of pairs whose first images have one size, and whose second images have one size.

        Keypoints of image 0 and of image 1 float32 [M, 2], confidence float32 [M], by ascending cell of image 0.

        The coarse transformer sees all pairs at once. What follows goes pair by pair: a pair's similarities are the
        largest thing in memory, and its matches are as many as there are.
        """
        tokens0, tokens1 = self.coarse_tokens(pairs)
        return [
            self._match_tokens(maps, first, second) for maps, first, second in zip(pairs, tokens0, tokens1, strict=True)
        ]

    def coarse_tokens(self, pairs: list[tuple[ImageMaps, ImageMaps]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Coarse features after attention within and between the images: [B, L, 256] and [B, S, 256]."""
        tokens = [
            torch.stack([maps.coarse for maps in side]).flatten(2).transpose(1, 2).contiguous()
            for side in zip(*pairs, strict=True)
        ]
        masks = [_usable_cells(side) for side in zip(*pairs, strict=True)]
        tokens0, tokens1 = self.network.loftr_coarse(*tokens, *masks)
        return tokens0, tokens1

    def _match_tokens(self, maps: tuple[ImageMaps, ImageMaps], tokens0: torch.Tensor, tokens1: torch.Tensor) -> Matches:
        with torch.autocast(tokens0.device.type, enabled=False):
            cells0, cells1, confidence = self._match_coarse(maps, tokens0.float(), tokens1.float())
        parts = [
            self._refine(maps, tokens0[None], tokens1[None], first, second)
            for first, second in zip(
                torch.split(cells0, _FINE_MATCHES), torch.split(cells1, _FINE_MATCHES), strict=True
            )
        ]
        keypoints0, keypoints1 = (torch.cat(part) for part in zip(*parts, strict=True))
        return keypoints0, keypoints1, confidence

    def _match_coarse(
        self, maps: tuple[ImageMaps, ImageMaps], tokens0: torch.Tensor, tokens1: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cells that match. Masked cells take no part; cells at the border do, and are dropped afterwards."""
        scale = 1 / (tokens0.shape[1] * self.temperature)
        (first, indices0), (second, indices1) = (
            (tokens, None) if item.usable is None else (tokens[item.usable], torch.nonzero(item.usable)[:, 0])
            for item, tokens in zip(maps, (tokens0, tokens1), strict=True)
        )
        cells0, cells1, confidence = match_dual_softmax(first * scale, second, threshold=self.match_threshold)
        cells0 = cells0 if indices0 is None else indices0[cells0]
        cells1 = cells1 if indices1 is None else indices1[cells1]
        is_inner = self._is_inner(cells0, maps[0]) & self._is_inner(cells1, maps[1])
        return cells0[is_inner], cells1[is_inner], confidence[is_inner]

    def _is_inner(self, cells: torch.Tensor, maps: ImageMaps) -> torch.Tensor:
        """Whether cells lie away from the image's border, where convolutions see padding."""
        height, width = maps.coarse.shape[1:]
        rows, columns, border = cells // width, cells % width, self.border_cells
        return (rows >= border) & (rows < height - border) & (columns >= border) & (columns < width - border)

    def _refine(
        self,
        maps: tuple[ImageMaps, ImageMaps],
        tokens0: torch.Tensor,
        tokens1: torch.Tensor,
        cells0: torch.Tensor,
        cells1: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of matched cells: of image 0 their own, of image 1 the expectation over a 5 x 5 window."""
        keypoints0, keypoints1 = (
            _positions(cells, item.coarse.shape[2]) for cells, item in zip((cells0, cells1), maps, strict=True)
        )
        if not len(cells0):
            return keypoints0, keypoints1
        # Kornia's modules pass each other a dictionary.
        data: dict[str, Any] = {
            "b_ids": torch.zeros_like(cells0),
            "i_ids": cells0,
            "j_ids": cells1,
            "stride_c": _COARSE_STRIDE_PX,
            "stride_f": _FINE_STRIDE_PX,
            "mkpts0_c": keypoints0,
            "mkpts1_c": keypoints1,
            "mconf": cells0,  # only its length is asked for
        }
        fine0, fine1 = (item.fine[None] for item in maps)
        windows = self.network.loftr_fine(*self.network.fine_preprocess(fine0, fine1, tokens0, tokens1, data))
        with torch.autocast(tokens0.device.type, enabled=False):
            self.network.fine_matching(*(window.float() for window in windows), data)
        return data["mkpts0_f"], data["mkpts1_f"]


def _positions(cells: torch.Tensor, width: int) -> torch.Tensor:
    return _COARSE_STRIDE_PX * torch.stack([cells % width, cells // width], 1).float()


def _usable_cells(side: tuple[ImageMaps, ...]) -> torch.Tensor | None:
    """Bool [B, cells] for one side of a batch; None where no image has a mask, which spares the work of masking."""
    if all(maps.usable is None for maps in side):
        return None
    everywhere = torch.ones(side[0].coarse[0].numel(), dtype=torch.bool, device=side[0].coarse.device)
    return torch.stack([everywhere if maps.usable is None else maps.usable for maps in side])
