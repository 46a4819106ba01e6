"""Sees samples through an extractor whose weights do not change: what sparse matchers are trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from gim.inference.config import InferenceConfig
from gim.inference.device import Batches, running
from gim.records import BoolArray, Features, Float32Array, Int64Array, Uint8Array
from gim.training.features.label_points import draw_labels, generator_for
from gim.training.features.settings import KeypointSettings
from gim.training.samples import FeatureSample, Labels, Sample
from gim.weights.spec import WeightsFile

REVISION = 1  # bumped by hand when the same settings give other features

Item = tuple[Uint8Array, Uint8Array | None]  # an image and its mask


class GivenPlaces(Protocol):
    """A network that finds keypoints and describes given places, see `gim.matchers.nn.keypoints`."""

    def extract_with(
        self, images: Sequence[Item], positions: Sequence[Float32Array], *, min_distance_px: float
    ) -> list[Features]: ...


@dataclass(frozen=True, slots=True)
class _View:
    """One image of a sample, and where its labels are put."""

    image: Uint8Array
    mask: Uint8Array | None  # 0: nothing is detected here
    positions: Float32Array  # [N, 2] pixels

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to find; extractors are not asked about such images."""
        return self.image.min() == self.image.max() or (self.mask is not None and not self.mask.any())


class FrozenExtractor:
    """Finds and describes keypoints of samples; may be called from many threads, which wait for each other."""

    def __init__(
        self,
        name: str,
        network: GivenPlaces,
        settings: KeypointSettings,
        *,
        descriptor_size: int,
        device: torch.device,
        inference: InferenceConfig,
        weights: WeightsFile | None = None,
    ) -> None:
        """Take over a network; `load_extractor` makes one by name."""
        self.name = name
        self.settings = settings
        self.descriptor_size = descriptor_size
        self.weights = weights  # whose licence what is trained on these features has to say
        self.device = device
        self._network = network
        self._inference = inference
        self._batches = Batches(inference)
        self._lock = RLock()

    def identity(self, *, of_labels: bool = True) -> Mapping[str, Any]:
        """Everything that changes the features of a given sample; of one without labels, not where labels are put."""
        return {
            "extractor": self.name,
            "revision": REVISION,
            "weights": self.weights.sha256 if self.weights else "",
            "settings": self.settings if of_labels else replace(self.settings, at_labels=False),
            "precision": self._inference.precision,
        }

    def features(self, samples: Sequence[Sample]) -> list[FeatureSample]:
        """Samples as their features, in order.

        Of a pair with `Labels`, and `at_labels`, keypoint i of either image is label i of the result's truth, for
        i < `num_labels`; the labels that were not drawn follow in it. Which are drawn is decided by the sample alone.

        Raises:
            Unavailable: one image does not fit into the device's memory.
        """
        chosen = [self._chosen(sample) for sample in samples]
        views = [view for sample, rows in zip(samples, chosen, strict=True) for view in self._views(sample, rows)]
        found = self._found(views)
        pairs = zip(samples, chosen, found[::2], found[1::2], strict=True)
        return [_feature_sample(*each) for each in pairs]

    def _chosen(self, sample: Sample) -> Int64Array:
        """The labels that become keypoints."""
        settings = self.settings
        if not isinstance(sample.truth, Labels) or not settings.at_labels:
            return np.empty(0, np.int64)
        return draw_labels(
            sample.truth.points,
            sample.valid0,
            sample.valid1,
            num=settings.max_labels,
            min_distance_px=settings.min_distance_px,
            rng=generator_for(sample),
        )

    def _views(self, sample: Sample, chosen: Int64Array) -> tuple[_View, _View]:
        rows = sample.truth.points[chosen] if isinstance(sample.truth, Labels) else np.empty((0, 4), np.float32)
        masks = (_detection_mask(valid, self.settings.border_px) for valid in (sample.valid0, sample.valid1))
        mask0, mask1 = masks
        return _View(sample.image0, mask0, rows[:, :2]), _View(sample.image1, mask1, rows[:, 2:])

    def _found(self, views: Sequence[_View]) -> list[Features]:
        """Features of images of any sizes; those of one size are computed together."""
        found = [self._nothing(view) for view in views]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, view in enumerate(views):
            if not view.is_blank:
                groups.setdefault(view.image.shape, []).append(index)
        with self._lock, running(self._inference, self.device):
            for shape, indices in groups.items():
                batch = [views[index] for index in indices]
                for index, features in zip(indices, self._batches.apply(self._extract, batch, shape), strict=True):
                    found[index] = features
        return found

    def _extract(self, views: Sequence[_View]) -> list[Features]:
        return self._network.extract_with(
            [(view.image, view.mask) for view in views],
            [view.positions for view in views],
            min_distance_px=self.settings.min_distance_px,
        )

    def _nothing(self, view: _View) -> Features:
        empty = np.empty((0, self.descriptor_size), np.float32)
        size = (view.image.shape[1], view.image.shape[0])
        return Features(np.empty((0, 2), np.float32), empty, np.empty(0, np.float32), size)


def _detection_mask(valid: BoolArray, border_px: int) -> Uint8Array | None:
    """Pixels that are photographed, as are all within `border_px`; the image's own edge counts for nothing."""
    if valid.all():
        return None
    square = np.ones((2 * border_px + 1, 2 * border_px + 1), np.uint8)
    return np.asarray(cv2.erode(valid.astype(np.uint8), square), np.uint8)


def _feature_sample(sample: Sample, chosen: Int64Array, features0: Features, features1: Features) -> FeatureSample:
    truth, num_labels = sample.truth, 0
    # A blank image has no features, not even at labels; the pair then supervises nothing.
    if isinstance(truth, Labels) and len(features0.keypoints) and len(features1.keypoints):
        truth, num_labels = Labels(_moved_to_front(truth.points, chosen)), len(chosen)
    return FeatureSample(sample.name, sample.part, features0, features1, truth, num_labels)


def _moved_to_front(points: Float32Array, chosen: Int64Array) -> Float32Array:
    """Rows in the order of `chosen`, then all others in theirs."""
    return np.concatenate([points[chosen], np.delete(points, chosen, axis=0)])
