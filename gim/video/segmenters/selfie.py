"""A person close to the camera, as in a video diary: a small network that OpenCV runs, without torch.

It was trained on people within two metres of the camera. Where nobody is that close it takes whatever lies in front
for a person, so it is no segmenter for street scenes.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from threading import Lock
from typing import ClassVar

import cv2
import numpy as np

from gim.errors import InvalidInput
from gim.inference.config import InferenceConfig
from gim.records import Float32Array, Uint8Array
from gim.video.config import SegmenterConfig
from gim.video.segmenter import Segmenter
from gim.weights.config import WeightsConfig

_SIDE_PX = 256


class Selfie(Segmenter):
    """MediaPipe's selfie segmentation, the general model (256 x 256)."""

    name: ClassVar[str] = "selfie"
    classes: ClassVar[tuple[str, ...]] = ("background", "person")
    published_weights: ClassVar[tuple[str, ...]] = ("selfie_segmentation",)
    only_size: ClassVar[tuple[int, int] | None] = (_SIDE_PX, _SIDE_PX)

    def __init__(self, config: SegmenterConfig, inference: InferenceConfig, weights: WeightsConfig) -> None:
        super().__init__(config, inference, weights)
        self._lock = Lock()  # a network of OpenCV keeps state between its input and its output

    def _classify(self, images: Sequence[Uint8Array]) -> Iterator[tuple[Uint8Array, Float32Array]]:
        for image in images:
            person = self._person(image)
            is_person = person > 0.5
            yield is_person.astype(np.uint8), np.where(is_person, person, 1 - person)

    def _person(self, image: Uint8Array) -> Float32Array:
        """Probability [256, 256] that a pixel shows a person."""
        with self._lock:
            self._network.setInput(cv2.dnn.blobFromImage(image, 1 / 255))
            found = self._network.forward()
        if found.size != _SIDE_PX**2:
            raise InvalidInput(f"weights {self.files[0].name}: another network than {self.published_weights[0]}")
        return np.asarray(found, np.float32).reshape(_SIDE_PX, _SIDE_PX)

    @cached_property
    def _network(self) -> cv2.dnn.Net:
        (file,) = self.files
        try:
            return cv2.dnn.readNetFromTFLite(file.path)
        except cv2.error as error:
            raise InvalidInput(f"weights {file.name}: not a TFLite file that OpenCV can read") from error
