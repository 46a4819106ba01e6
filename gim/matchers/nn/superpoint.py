"""SuperPoint (DeTone, Malisiewicz, Rabinovich, CVPR-W 2018): keypoints and descriptors of grey images, in batches.

Written from the paper and the names of the published tensors. What the paper leaves open follows the networks that were
trained on its output: three rounds of suppression, a border of 4 px, and the stretched grid of `sample_descriptors`.

The heat map has the resolution of the image, and its element (x, y) IS the pixel whose centre is (x, y): positions need
no shift. (GIM adds half a pixel, for an origin at the corner.) Where fewer keypoints are found than asked for, fewer
are returned: GIM fills up with random places, which makes matches of its own and differs from call to call.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import grid_sample, max_pool2d, normalize, pixel_shuffle

from gim.geometry.colour import to_grey
from gim.geometry.pixels import PixelMap, network_size, resize_image
from gim.inference.config import InferenceConfig
from gim.inference.device import compiled
from gim.matchers.nn.keypoints import Described, given_features, join_features
from gim.records import BoolArray, Features, Float32Array, Uint8Array
from gim.weights.checkpoint import StateDict, load_into

Item = tuple[Uint8Array, Uint8Array | None]

_CELL_PX = 8
_BORDER_PX = 4  # no keypoints: the zeros around the image respond there
_SUPPRESSION_ROUNDS = 3
_MOST_AT_A_PLACE = 4  # keypoints as near to a given place as they are to each other


class SuperPointExtractor:
    """Finds features in batches of images of one size."""

    def __init__(
        self,
        network: "SuperPoint",
        inference: InferenceConfig,
        *,
        max_keypoints: int,
        nms_radius_px: int,
        detection_threshold: float,
        max_side_px: int,
    ) -> None:
        self._device = next(network.parameters()).device
        self._network = compiled(network, inference)
        self._max_keypoints = max_keypoints
        self._nms_radius_px = nms_radius_px
        self._detection_threshold = detection_threshold
        self._max_side_px = max_side_px

    def extract(self, items: Sequence[Item]) -> list[Features]:
        """Features of images of one size, each with its mask; strongest first, of equals by row and column.

        Returns:
            Features with float32 descriptors [N, 256] of unit length, the detector's scores and the image's size.
        """
        return self._strongest(items, *self._seen(items), self._max_keypoints)

    def extract_at(self, items: Sequence[Item], positions: Sequence[Float32Array]) -> list[Features]:
        """Features at given places and nowhere else: see `keypoints.DescribingExtractor`."""
        return self._given(positions, *self._seen(items), _size(items))

    def extract_with(
        self, items: Sequence[Item], positions: Sequence[Float32Array], *, min_distance_px: float
    ) -> list[Features]:
        """Features at given places, then the strongest far from them: see `keypoints.DescribingExtractor`."""
        seen, num = self._seen(items), self._max_keypoints + _MOST_AT_A_PLACE * max(map(len, positions))
        given, detected = self._given(positions, *seen, _size(items)), self._strongest(items, *seen, num)
        return [
            join_features(*pair, min_distance_px=min_distance_px, max_keypoints=self._max_keypoints)
            for pair in zip(given, detected, strict=True)
        ]

    def _seen(self, items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor, PixelMap]:
        """Heat maps and descriptors of images of one size, and where their pixels lie in the maps."""
        resized = [self._resize(image) for image, _ in items]
        return *self._maps(np.stack([image for image, _ in resized])), resized[0][1]

    def _strongest(
        self, items: Sequence[Item], scores: torch.Tensor, descriptors: torch.Tensor, pixel_map: PixelMap, num: int
    ) -> list[Features]:
        size = _size(items)
        scores = suppress(scores, self._nms_radius_px)
        if any(mask is not None for _, mask in items):
            usable = [_usable_on_grid(mask, size, pixel_map, scores.shape[1:]) for _, mask in items]
            scores = scores * torch.from_numpy(np.stack(usable)).to(self._device)
        strengths, places = strongest(scores, num)
        positions = torch.stack([places % scores.shape[2], places // scores.shape[2]], 2)
        vectors = sample_descriptors(descriptors, positions.float())
        found = [tensor.cpu().numpy() for tensor in (strengths, positions, vectors)]
        back = pixel_map.inverse()
        counts = np.count_nonzero(found[0] > self._detection_threshold, axis=1)
        return [
            Features(back.apply(keypoints[:count]), vector[:count].copy(), strength[:count].copy(), size)
            for count, strength, keypoints, vector in zip(counts, *found, strict=True)
        ]

    def _given(
        self,
        positions: Sequence[Float32Array],
        scores: torch.Tensor,
        descriptors: torch.Tensor,
        pixel_map: PixelMap,
        size: tuple[int, int],
    ) -> list[Features]:
        last = np.array([scores.shape[2] - 1, scores.shape[1] - 1], np.float32)
        places = [torch.from_numpy(pixel_map.apply(item).clip(0, last)).to(self._device) for item in positions]
        described = [_described(*each) for each in zip(scores, descriptors, places, strict=True)]
        return [given_features(*each, size) for each in zip(positions, described, strict=True)]

    def _maps(self, images: Uint8Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat maps and descriptors of grey images [B, H, W]."""
        inputs = torch.from_numpy(images).to(self._device)[:, None].float() / 255
        # A processor gains nothing from a batch, and one image of 1600 x 1200 takes 1 GB.
        batches = torch.split(inputs, 1) if self._device.type == "cpu" else (inputs,)
        heat_maps, descriptors = zip(*(self._network(batch) for batch in batches), strict=True)
        return torch.cat(heat_maps), torch.cat(descriptors)

    def _resize(self, image: Uint8Array) -> tuple[Uint8Array, PixelMap]:
        """The image in grey, smaller if it is too large.

        Else it is left as it is, whatever its size: the up to 7 rows and columns behind the last whole cell are seen
        by the network and hold no keypoints, which costs less than to resample all others.
        """
        grey = to_grey(image)
        height, width = grey.shape
        if not self._max_side_px or max(width, height) <= self._max_side_px:
            return grey, PixelMap()
        return resize_image(grey, network_size(width, height, max_side_px=self._max_side_px, multiple=_CELL_PX))


class SuperPoint(nn.Module):
    """The network, by the names of the published tensors."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 64, 64, 128, 128)
        for block in range(1, 5):
            before, after = widths[block - 1 : block + 1]
            self.add_module(f"conv{block}a", nn.Conv2d(before, after, 3, padding=1))
            self.add_module(f"conv{block}b", nn.Conv2d(after, after, 3, padding=1))
        self.convPa = nn.Conv2d(128, 256, 3, padding=1)
        self.convPb = nn.Conv2d(256, _CELL_PX**2 + 1, 1)
        self.convDa = nn.Conv2d(128, 256, 3, padding=1)
        self.convDb = nn.Conv2d(256, 256, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat map and descriptors of grey images (Sec. 3).

        Args:
            images: float32 [B, 1, H, W] in [0, 1].

        Returns:
            float32 [B, 8 h, 8 w], the probability of a keypoint, and float32 [B, 256, h, w], descriptors of unit length
            of the cells of 8 x 8 pixels; h = H // 8, w = W // 8.
        """
        x = images
        for block in range(1, 5):
            x = x if block == 1 else max_pool2d(x, 2)
            x = self.get_submodule(f"conv{block}a")(x).relu_()
            x = self.get_submodule(f"conv{block}b")(x).relu_()
        keypoint_maps, descriptor_maps = self.convPa(x).relu_(), self.convDa(x).relu_()
        # In half precision neighbouring probabilities would be equal, and keypoints a matter of chance.
        with torch.autocast(images.device.type, enabled=False):
            logits = self.convPb(keypoint_maps.float())
        # 65 channels: the pixels of a cell, row by row, and "no keypoint here", which takes its share and is dropped.
        heat_map = pixel_shuffle(logits.softmax(1)[:, :-1], _CELL_PX)[:, 0]
        return heat_map, normalize(self.convDb(descriptor_maps).float(), dim=1)


def load_superpoint(state: StateDict, *, source: str, device: torch.device) -> SuperPoint:
    """SuperPoint with weights, in the memory layout in which its convolutions are fastest (CPU: 1.7 times).

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ.
    """
    network = SuperPoint()
    load_into(network, state, source=source)
    return network.to(device).to(memory_format=torch.channels_last)


def suppress(scores: torch.Tensor, radius_px: int) -> torch.Tensor:
    """Scores [B, H, W] with all but the local maxima, and those at the border, set to 0.

    Greedy suppression, the strongest first, in rounds: whatever is largest within `radius_px` (a square) stays and
    clears its neighbourhood, which uncovers the next. What a fourth round would add is the weakest.
    """
    is_kept = torch.zeros_like(scores, dtype=torch.bool)
    remaining = scores
    for _ in range(_SUPPRESSION_ROUNDS):
        is_kept |= (remaining == _largest_near(remaining, radius_px)) & (remaining > 0)
        remaining = torch.where(_largest_near(is_kept.float(), radius_px) > 0, 0, scores)
    is_kept[:, :_BORDER_PX] = is_kept[:, -_BORDER_PX:] = False
    is_kept[:, :, :_BORDER_PX] = is_kept[:, :, -_BORDER_PX:] = False
    return scores * is_kept


def strongest(scores: torch.Tensor, num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of float32 scores [B, H, W] >= 0, and their places in row-major order, both [B, min(num, H W)].

    Of equal ones the first place comes first: `topk` alone gives equals in any order, by device and size.
    """
    flat = scores.flatten(1)
    length = flat.shape[1]
    # Non-negative floats are ordered as the integers of their bits are; the place below makes every key another.
    keys = flat.contiguous().view(torch.int32).long() * length + torch.arange(length - 1, -1, -1, device=flat.device)
    places = length - 1 - keys.topk(min(num, length), dim=1).values % length
    return flat.gather(1, places), places


def _largest_near(scores: torch.Tensor, radius_px: int) -> torch.Tensor:
    """Largest value in the square around each element, its rows and columns in turn."""
    width = 2 * radius_px + 1
    in_row = max_pool2d(scores[:, None], (1, width), 1, (0, radius_px))
    return max_pool2d(in_row, (width, 1), 1, (radius_px, 0))[:, 0]


def sample_descriptors(descriptors: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Unit descriptors [B, N, 256] at pixels [B, N, 2], between those of the cells [B, 256, h, w].

    The centre of the first cell, pixel 3.5, is the first place of the grid, and the LAST PIXEL, not the centre of the
    last cell, the last: the grid is stretched by up to half a cell. SuperGlue and LightGlue were trained on this.
    """
    height, width = descriptors.shape[2:]
    first = (_CELL_PX - 1) / 2
    last = positions.new_tensor([_CELL_PX * width - 1, _CELL_PX * height - 1])
    grid = 2 * (positions - first) / (last - first) - 1
    sampled = grid_sample(descriptors, grid[:, None], mode="bilinear", align_corners=True)[:, :, 0]
    return normalize(sampled, dim=1).transpose(1, 2)


def _described(scores: torch.Tensor, descriptors: torch.Tensor, positions: torch.Tensor) -> Described:
    """What one image's maps [8 h, 8 w] and [256, h, w] say at positions [N, 2]."""
    if not len(positions):
        return descriptors.new_empty(0, len(descriptors)), descriptors.new_empty(0)
    columns, rows = positions.round().long().T
    return sample_descriptors(descriptors[None], positions[None])[0], scores[rows, columns]


def _size(items: Sequence[Item]) -> tuple[int, int]:
    return (items[0][0].shape[1], items[0][0].shape[0])


def _usable_on_grid(
    mask: Uint8Array | None, size: tuple[int, int], pixel_map: PixelMap, shape: Sequence[int]
) -> BoolArray:
    """Which elements of a heat map [8 h, 8 w] lie on a pixel of the image that the mask does not forbid."""
    if mask is None:
        return np.ones(tuple(shape), np.bool_)
    steps = np.arange(max(shape))
    columns, rows = np.rint(pixel_map.inverse().apply(np.column_stack([steps, steps]))).astype(np.intp).T
    columns = columns[: shape[1]].clip(0, size[0] - 1)
    rows = rows[: shape[0]].clip(0, size[1] - 1)
    return np.asarray(mask[np.ix_(rows, columns)] > 0)
