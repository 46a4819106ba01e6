"""The Matcher base classes: two images in, correspondences in original pixels out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gim import keys
from gim.records import (
    BoolArray,
    Correspondences,
    Features,
    Float32Array,
    ImagePair,
    Int32Array,
    Int64Array,
    Teacher,
    Uint8Array,
)


class Matcher(ABC):
    """One image matcher, configured and loaded.

    Subclasses live one per file in `gim/matchers/`; the file name is the matcher's name. They set the class
    attributes, take one frozen configuration dataclass, and implement `match` (or, for sparse ones, derive from
    `SparseMatcher`). Images are uint8 RGB [H, W, 3] or grey [H, W]; masks are uint8 [H, W], 0 = ignore.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1  # bumped by hand when the same configuration gives other bytes
    dense: ClassVar[bool] = False
    licence: ClassVar[str] = "Apache-2.0"  # of the code
    is_exact: ClassVar[bool] = True  # the same bytes for any number of library threads and any batch
    is_batched: ClassVar[bool] = False  # wants many items in one call from one thread, not many threads
    wants_colour: ClassVar[bool] = False  # a sparse matcher's images: RGB, or luma as the video stores it

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def identity(self) -> tuple[Any, ...]:
        """Everything that changes this matcher's output, for ids: name, revision, configuration, weights."""
        return (self.name, self.revision, self.config)

    @property
    def teacher(self) -> Teacher:
        """What a label made by this matcher has to say of it."""
        return Teacher(self.name, self.licence)

    @property
    def batch_size(self) -> int:
        """How many items one call should hold; more only costs memory."""
        return 1

    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]:
        """Correspondences of many pairs, of any sizes, in order.

        Raises:
            ShapeError: an image or mask has the wrong shape or dtype.
        """
        return [self.match(pair.image0, pair.image1, pair.mask0, pair.mask1) for pair in pairs]

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

    def extract_batch(self, images: Sequence[Uint8Array], masks: Sequence[Uint8Array | None]) -> list[Features]:
        """Features of many images, of any sizes, in order."""
        return [self.extract(image, mask) for image, mask in zip(images, masks, strict=True)]

    @abstractmethod
    def match_features(self, features0: Features, features1: Features) -> tuple[Int32Array, np.ndarray[Any, Any]]:
        """Index pairs int32 [N, 2] of corresponding keypoints, one-to-one, ascending, and their confidence [N]."""

    def match_features_batch(
        self, pairs: Sequence[tuple[Features, Features]]
    ) -> list[tuple[Int32Array, np.ndarray[Any, Any]]]:
        """`match_features` of many pairs, in order."""
        return [self.match_features(features0, features1) for features0, features1 in pairs]

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


def is_usable(keypoints: Float32Array, shape: tuple[int, ...], mask: Uint8Array | None) -> BoolArray:
    """Whether the pixel that holds a keypoint [N, 2] exists in an image of `shape` and is not masked."""
    columns, rows = np.rint(keypoints).astype(np.int64).T
    is_inside: BoolArray = (columns >= 0) & (rows >= 0) & (columns < shape[1]) & (rows < shape[0])
    if mask is not None:
        is_inside[is_inside] = mask[rows[is_inside], columns[is_inside]] > 0
    return is_inside


def is_best_at(keypoints: Float32Array, scores: Float32Array) -> BoolArray:
    """Whether each keypoint [N, 2] has the highest score [N] (the first of equals) of those at exactly its place."""
    if len(keypoints) == 0:
        return np.zeros(0, np.bool_)
    # One integer for both coordinates sorts ten times as fast as rows; adding zero makes -0 the same place as 0.
    at = np.ascontiguousarray(keypoints + np.float32(0)).view(np.int64).ravel()
    place: Int64Array = np.unique(at, return_inverse=True)[1]
    order = np.lexsort((-scores, place))
    is_best = np.zeros(len(keypoints), np.bool_)
    is_best[order[np.unique(place[order], return_index=True)[1]]] = True
    return is_best
