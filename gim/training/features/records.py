"""A pair's features as bytes: fixed little-endian arrays one after another, nothing that would have to be unpickled.

Order: the truth (H01 float64 [3, 3], or labels float32 [N, 4]); of image 0, then of image 1, keypoints float32 [n, 2]
and scores float32 [n]; at last the descriptors of both, float16 [n, D]. What is unit-long loses 2e-4 by that.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gim.errors import InvalidInput
from gim.records import Features
from gim.training.samples import FeatureSample, Homography, Labels, Truth

_FLOAT64, _FLOAT32, _FLOAT16 = (np.dtype(name) for name in ("<f8", "<f4", "<f2"))


@dataclass(frozen=True, slots=True)
class PairEntry:
    """What the index of a file says of one pair."""

    name: str
    part: str
    offset: int = 0
    num_bytes: int = 0
    crc32: int = 0
    num_labels: int = 0  # keypoints that are labels
    num_points: int = -1  # labels of the truth; -1: it is a homography
    counts: tuple[int, int] = (0, 0)  # keypoints
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))  # (width, height)
    descriptor_size: int = 0
    skipped: str = ""  # why the pair gives no sample; then there are no bytes
    detail: str = ""


def entry_of(sample: FeatureSample) -> PairEntry:
    """The entry of a sample; where its bytes stand is for the writer to say."""
    features = (sample.features0, sample.features1)
    return PairEntry(
        name=sample.name,
        part=sample.part,
        num_labels=sample.num_labels,
        num_points=len(sample.truth.points) if isinstance(sample.truth, Labels) else -1,
        counts=(len(features[0].keypoints), len(features[1].keypoints)),
        sizes=(features[0].image_size or (0, 0), features[1].image_size or (0, 0)),
        descriptor_size=features[0].descriptors.shape[1],
    )


def pack(sample: FeatureSample) -> bytes:
    """The bytes of a sample.

    Raises:
        InvalidInput: its truth, or its features, cannot be kept.
    """
    features = (sample.features0, sample.features1)
    arrays: list[tuple[npt.ArrayLike, np.dtype[Any]]] = [_truth_array(sample)]
    for item in features:
        if item.scores is None or item.image_size is None:
            raise InvalidInput(f"{sample.part} pair {sample.name}: no scores or image size beside its features")
        arrays += [(item.keypoints, _FLOAT32), (item.scores, _FLOAT32)]
    arrays += [(item.descriptors, _FLOAT16) for item in features]
    return b"".join(np.ascontiguousarray(array, dtype).tobytes() for array, dtype in arrays)


def _truth_array(sample: FeatureSample) -> tuple[npt.ArrayLike, np.dtype[Any]]:
    if isinstance(sample.truth, Homography):
        return sample.truth.H01, _FLOAT64
    if isinstance(sample.truth, Labels):
        return sample.truth.points, _FLOAT32
    raise InvalidInput(
        f"{sample.part} pair {sample.name}: features of posed pairs are not kept, since their depth takes more room "
        "than their images; set features.variants to 0"
    )


def packed_size(entry: PairEntry) -> int:
    """How many bytes `pack` gives a sample of this entry."""
    truth = 9 * _FLOAT64.itemsize if entry.num_points < 0 else 4 * _FLOAT32.itemsize * entry.num_points
    per_keypoint = 3 * _FLOAT32.itemsize + _FLOAT16.itemsize * entry.descriptor_size
    return truth + per_keypoint * sum(entry.counts)


def unpack(data: bytearray, entry: PairEntry) -> FeatureSample:
    """The sample of `pack`; its descriptors are float32 again, its other arrays lie in `data`.

    Raises:
        ValueError: there are too few bytes.
    """
    reading = _Reading(data)
    truth: Truth = (
        Homography(reading.take(_FLOAT64, 3, 3))
        if entry.num_points < 0
        else Labels(reading.take(_FLOAT32, entry.num_points, 4))
    )
    found = [(reading.take(_FLOAT32, count, 2), reading.take(_FLOAT32, count)) for count in entry.counts]
    features = [
        Features(keypoints, reading.take(_FLOAT16, len(scores), entry.descriptor_size).astype(np.float32), scores, size)
        for (keypoints, scores), size in zip(found, entry.sizes, strict=True)
    ]
    return FeatureSample(entry.name, entry.part, features[0], features[1], truth, entry.num_labels)


class _Reading:
    """Takes arrays from bytes, one after another."""

    def __init__(self, data: bytearray) -> None:
        self._data, self._offset = data, 0

    def take(self, dtype: np.dtype[Any], *shape: int) -> npt.NDArray[Any]:
        count = math.prod(shape)
        array = np.frombuffer(self._data, dtype, count, self._offset) if count else np.empty(0, dtype)
        self._offset += array.nbytes
        return array.reshape(shape)
