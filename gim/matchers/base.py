"""The Matcher base classes: two images in, correspondences in original pixels out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gim import keys
from gim.errors import ShapeError
from gim.records import Correspondences, Features, Int32Array, Uint8Array


class Matcher(ABC):
    """One image matcher, configured and loaded.

    Subclasses live one per file in `gim/matchers/`; the file name is the matcher's name. They set the class
    attributes, take one frozen configuration dataclass, and implement `match` (or, for sparse ones, derive from
    `SparseMatcher`). Images are uint8 RGB [H, W, 3] or grey [H, W]; masks are uint8 [H, W], 0 = ignore.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1  # bumped by hand when the same configuration gives other bytes
    dense: ClassVar[bool] = False
    licence: ClassVar[str] = "Apache-2.0"  # of code and weights together: what a label made by it inherits

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def identity(self) -> tuple[Any, ...]:
        """Everything that changes this matcher's output, for ids: name, revision, configuration, weights."""
        return (self.name, self.revision, self.config)

    @abstractmethod
    def match(
        self,
        image0: Uint8Array,
        image1: Uint8Array,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
    ) -> Correspondences:
        """Correspondences of two images, in pixels of the images as given, origin at the top-left pixel's centre.

        Raises:
            ShapeError: an image or mask has the wrong shape or dtype.
        """


class SparseMatcher(Matcher):
    """A matcher that finds features in each image by itself, so that a frame's features are computed once."""

    @property
    def extractor_id(self) -> str:
        """Id of the extractor for the feature cache: matchers that share an extractor share it."""
        return keys.config_id(self.name, *self.identity)

    @abstractmethod
    def extract(self, image: Uint8Array, mask: Uint8Array | None = None) -> Features:
        """Features of one image, none of them where the mask is 0."""

    @abstractmethod
    def match_features(self, features0: Features, features1: Features) -> tuple[Int32Array, np.ndarray[Any, Any]]:
        """Index pairs int32 [N, 2] of corresponding keypoints, one-to-one, ascending, and their confidence [N]."""

    @abstractmethod
    def distance(self, features0: Features, features1: Features, candidates: Int32Array) -> np.ndarray[Any, Any]:
        """Descriptor DISTANCE float32 [C] of given keypoint index pairs int32 [C, 2], comparable by ratio test."""

    def match(
        self,
        image0: Uint8Array,
        image1: Uint8Array,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
    ) -> Correspondences:
        features0, features1 = self.extract(image0, mask0), self.extract(image1, mask1)
        matches, confidence = self.match_features(features0, features1)
        return correspondences_of(features0, features1, matches, confidence)


def correspondences_of(
    features0: Features, features1: Features, matches: Int32Array, confidence: np.ndarray[Any, Any]
) -> Correspondences:
    """Join matched keypoints into rows (x0, y0, x1, y1)."""
    points = np.hstack([features0.keypoints[matches[:, 0]], features1.keypoints[matches[:, 1]]])
    return Correspondences(points.astype(np.float32), confidence.astype(np.float32), matches)


def check_images(images: Sequence[Uint8Array], masks: Sequence[Uint8Array | None]) -> None:
    """Raise ShapeError unless images are uint8 [H, W] or [H, W, 3] and masks uint8 [H, W] of the same size."""
    for image, mask in zip(images, masks, strict=True):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ShapeError(f"expected a uint8 image [H, W] or [H, W, 3], got {image.dtype} {image.shape}")
        if mask is not None and (mask.dtype != np.uint8 or mask.shape != image.shape[:2]):
            raise ShapeError(f"expected a uint8 mask {image.shape[:2]}, got {mask.dtype} {mask.shape}")
