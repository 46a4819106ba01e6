"""The Segmenter port: pixels of things that move by themselves or are infinitely far (people, sky, cars)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import cv2
import numpy as np

from gim import keys
from gim.errors import ConfigError
from gim.geometry.colour import check_image, to_rgb
from gim.geometry.pixels import network_size, resize_image, resize_mask
from gim.inference.config import InferenceConfig
from gim.records import BoolArray, Float32Array, TeacherWeights, Uint8Array
from gim.spelling import did_you_mean
from gim.video.config import SegmenterConfig
from gim.weights.config import WeightsConfig
from gim.weights.files import find_weights, teacher_weights

USUALLY_MASKED = ("person", "car", "sky")  # what GIM's own labelling leaves out
_MULTIPLE = 8  # strides of the networks: sides that are multiples of it come back without a shift


class Segmenter(ABC):
    """Says of every pixel of a frame whether it may be matched.

    Subclasses live one per file in `gim/video/segmenters/`; the file name is the segmenter's name. They say what they
    tell apart and classify images; which classes are masked, at what size, and how masks come back to the size of the
    frame is the same for all. Weights are found and checked when it is made; networks are built at first use.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1  # bumped by hand when the same configuration gives other masks
    licence: ClassVar[str] = "Apache-2.0"  # of the code
    classes: ClassVar[tuple[str, ...]]  # what it tells apart, by index
    published_weights: ClassVar[tuple[str, ...]]  # names in the catalogue of the files it takes, in order
    only_size: ClassVar[tuple[int, int] | None] = None  # (width, height) the network takes; None: any
    requires: ClassVar[tuple[str, ...]] = ()  # packages that a plain installation lacks

    def __init__(self, config: SegmenterConfig, inference: InferenceConfig, weights: WeightsConfig) -> None:
        self.config = config
        self.inference = inference
        self.masked_classes = self.choose_classes(config.classes)
        self.files = tuple(find_weights(name, weights) for name in self.weight_names(config))
        self._masked = [index for index, name in enumerate(self.classes) if name in self.masked_classes]

    @classmethod
    def choose_classes(cls, wanted: Sequence[str] = ()) -> tuple[str, ...]:
        """The classes to mask; where none are named, those of `USUALLY_MASKED` it knows.

        Raises:
            ConfigError: it does not know a class that is named; the message says which it knows.
        """
        for name in wanted:
            if name not in cls.classes:
                hint, known = did_you_mean(name, cls.classes), ", ".join(sorted(cls.classes))
                raise ConfigError(f"segmenter {cls.name!r} knows no class {name!r}{hint}; it knows: {known}")
        return tuple(dict.fromkeys(wanted)) or tuple(name for name in USUALLY_MASKED if name in cls.classes)

    @classmethod
    def weight_names(cls, config: SegmenterConfig) -> tuple[str, ...]:
        """The weights a configuration asks for, without looking for them.

        Raises:
            ConfigError: it takes another number of files, or does not know a class that is to be masked.
        """
        cls.choose_classes(config.classes)  # before anything is fetched
        names = config.weights or cls.published_weights
        if len(names) != len(cls.published_weights):
            raise ConfigError(
                f"segmenter.weights = {', '.join(names)}: {cls.name} takes {len(cls.published_weights)}, in the place "
                f"of {', '.join(cls.published_weights)}"
            )
        return names

    @property
    def segmenter_id(self) -> str:
        """Id of everything that changes the masks: what is masked, the network's weights, sizes and precision."""
        weights = [file.sha256 for file in self.files]
        numbers = (self.config.max_side_px, self.config.confidence, self.config.grow_px)
        precision = self.inference.precision
        return keys.config_id(self.name, self.revision, sorted(self.masked_classes), weights, numbers, precision)

    @property
    def weights(self) -> tuple[TeacherWeights, ...]:
        """What labels made with its masks have to say of its files."""
        return tuple(teacher_weights(file) for file in self.files)

    def classified_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) at which the network sees an image."""
        limit = self.config.max_side_px
        return self.only_size or network_size(width, height, max_side_px=limit, multiple=_MULTIPLE)

    def masks(self, images: Sequence[Uint8Array]) -> list[Uint8Array]:
        """Where images of any sizes may be matched, in order.

        Args:
            images: uint8 RGB [H, W, 3] or grey [H, W].

        Returns:
            uint8 [H, W] each: 255 = usable, 0 = ignore.

        Raises:
            ShapeError: an image is neither RGB nor grey.
        """
        for image in images:
            check_image(image)
        rgb = [to_rgb(image) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(rgb):
            by_shape.setdefault(image.shape, []).append(index)
        usable: dict[int, Uint8Array] = {}
        for (height, width, _), indices in by_shape.items():
            size = self.classified_size(width, height)
            found = self._classify([resize_image(rgb[index], size)[0] for index in indices])
            for index, (labels, confidence) in zip(indices, found, strict=True):
                is_masked = np.isin(labels, self._masked) & (confidence >= self.config.confidence)
                usable[index] = self._usable(is_masked, (width, height))
        return [usable[index] for index in range(len(images))]

    def mask(self, image: Uint8Array) -> Uint8Array:
        """`masks` of one image."""
        return self.masks([image])[0]

    @abstractmethod
    def _classify(self, images: Sequence[Uint8Array]) -> Iterable[tuple[Uint8Array, Float32Array]]:
        """Of RGB images of one size: uint8 [H, W] the likeliest class, and float32 [H, W] its probability."""

    def _usable(self, is_masked: BoolArray, size: tuple[int, int]) -> Uint8Array:
        usable = resize_mask(np.where(is_masked, 0, 255).astype(np.uint8), size)
        if not self.config.grow_px:
            return usable
        side = 2 * self.config.grow_px + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        return np.asarray(cv2.erode(usable, disc), np.uint8)
