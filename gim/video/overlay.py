"""What stays in place while the scene moves: logos, burned-in text, dashboards, bonnets, frames and bars.

Responsible for: accumulating one shot's samples in constant memory and turning them into a mask. Not for: which
samples count (`gim.video.motion` says whether the picture moved) nor what the mask is used for.

The measure is the coherence of the gradients at a pixel, `|mean of u|` with `u = g / (|g| + c)`: each sample has one
vote for the direction of its gradient, and a strong edge that passes once cannot outvote many weak ones. A
burned-in edge votes the same way every time (coherence near 1, half-transparent ones a little less), a passing
scene cancels out. `c` keeps noise from voting.
"""

import cv2
import numpy as np

from gim.records import BoolArray, Float32Array, Uint8Array
from gim.video.config import OverlayConfig

_NOISE_GRADIENT = 3.0  # grey levels per pixel: half a vote


class OverlayAccumulator:
    """Sums of one shot at the analysis width: five images, whatever the shot's length."""

    def __init__(self, config: OverlayConfig) -> None:
        self._config = config
        self._votes: Float32Array | None = None  # [2, h, w], summed over the samples
        self._space: Float32Array | None = None
        self.num_samples = 0

    def add(self, image: Uint8Array) -> None:
        """Take one sample of the moving picture.

        Args:
            image: uint8 [h, w], the sample at the analysis width; one size for the whole shot.
        """
        if self._votes is None or self._space is None:
            self._votes, self._space = np.zeros((2, *image.shape), np.float32), np.empty((3, *image.shape), np.float32)
        for total, votes in zip(self._votes, gradient_votes(image, self._space), strict=True):
            cv2.accumulate(votes, total)
        self.num_samples += 1

    def coherence(self) -> Float32Array:
        """float32 [h, w] in [0, 1]: how much the gradients of all samples agree at each pixel."""
        if self._votes is None:
            return np.zeros((0, 0), np.float32)
        return np.asarray(cv2.magnitude(*self._votes) / self.num_samples, np.float32)

    def mask(self, width: int, height: int) -> Uint8Array | None:
        """Find the overlays of the shot.

        Args:
            width: of the stored frame, pixels.
            height: of the stored frame, pixels.

        Returns:
            uint8 [height, width], 255 usable, 0 overlay; None where there is none, or the shot says too little.
        """
        if self.num_samples < self._config.min_samples:
            return None
        found = find_overlay(self.coherence(), self.num_samples, self._config)
        share = float(found.mean())
        if share == 0.0 or share > self._config.max_share:
            return None
        usable = np.where(found, 0, 255).astype(np.uint8)
        return np.asarray(cv2.resize(usable, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def gradient_votes(image: Uint8Array, space: Float32Array) -> Float32Array:
    """Gradients scaled to length |g| / (|g| + c), so that each sample has at most one vote at a pixel.

    Args:
        image: uint8 [h, w].
        space: float32 [3, h, w], written over: fresh pages for every sample would cost three times the arithmetic.

    Returns:
        x and y parts, float32 [2, h, w], the first two images of `space`.
    """
    votes_x, votes_y, weight = space
    cv2.Scharr(image, cv2.CV_32F, 1, 0, dst=votes_x, scale=1 / 32)
    cv2.Scharr(image, cv2.CV_32F, 0, 1, dst=votes_y, scale=1 / 32)
    cv2.magnitude(votes_x, votes_y, magnitude=weight)
    weight += np.float32(_NOISE_GRADIENT)
    cv2.divide(votes_x, weight, dst=votes_x)
    cv2.divide(votes_y, weight, dst=votes_y)
    return space[:2]


def find_overlay(coherence: Float32Array, num_samples: int, config: OverlayConfig) -> BoolArray:
    """Turn coherence into regions: strong edges, the weaker ones that belong to them, gaps closed, specks dropped.

    Args:
        coherence: float32 [h, w] in [0, 1].
        num_samples: how many samples voted.
        config: thresholds and sizes.

    Returns:
        bool [h, w], True = overlay.
    """
    strong = coherence > config.min_coherence + config.small_shot_coherence / np.sqrt(num_samples)
    weak = coherence > config.weak_coherence
    joined = cv2.morphologyEx(weak.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((config.join_px,) * 2, np.uint8))
    num, labels = cv2.connectedComponents(joined, connectivity=8)
    num_strong = np.bincount(labels[strong], minlength=num)
    num_weak = np.bincount(labels[weak], minlength=num)
    keep = (num_strong >= config.min_area_px) & (num_strong >= config.min_strong_share * num_weak)
    keep[0] = False
    grown = cv2.dilate(keep[labels].astype(np.uint8), np.ones((2 * config.grow_px + 1,) * 2, np.uint8))
    return grown.astype(np.bool_)
