"""What a pair teaches, as a picture: where labels and matching keypoints lie, and where no photograph is."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from gim.geometry.draw import draw_correspondences
from gim.records import BoolArray, Float32Array, Uint8Array
from gim.training.models.base import Trainable
from gim.training.samples import FeatureSample, Labels, Sample
from gim.training.supervision.keypoints import Thresholds, keypoint_truth
from gim.training.truth import HomographyBatch, PosedBatch, Views, truth_batch

_MAX_LINES = 150
_GRID = 24  # points along the longer side, of truth that is known everywhere
_STRIPE_PX = 6
_EMPTY = (176, 40, 160)  # stripes where no photograph is
# Of unlike lightness: the colours alone do not tell everybody which is which.
_UNMATCHED, _UNKNOWN = (255, 214, 64), (128, 128, 136)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A pair's picture, and in words what it shows."""

    name: str
    picture: Uint8Array
    words: str


def draw_sample(sample: Sample) -> Drawn:
    """A pair of images with the correspondences that are known of it: all labels, or a grid where all pixels are known.

    At most 150 are drawn. Stripes cover what is no photograph: padding, and what a warp left empty.
    """
    points = known_correspondences(sample)
    images = [_striped(image, valid) for image, valid in _sides(sample)]
    picture = draw_correspondences(images[0], images[1], points, np.ones(len(points), np.bool_), max_lines=_MAX_LINES)
    if isinstance(sample.truth, Labels):
        words = f"{len(points)} labels; of all other pixels nothing is known"
    else:
        words = f"every pixel's place is known; {len(points)} points of a grid are seen in both images"
    return Drawn(sample.name, picture, words)


def draw_features(samples: Sequence[Sample], features: Sequence[FeatureSample], model: Trainable) -> list[Drawn]:
    """Pairs as a matcher on features sees them: matching keypoints joined, the others as dots.

    Yellow: known to have no match; grey: nothing is known, and the loss leaves it out.

    Args:
        samples: the images, all of one part.
        features: what the extractor found in them, in their order.
        model: says how near is near.
    """
    batch = model.collate(features)
    truth = keypoint_truth(batch, _thresholds(model))
    drawn = []
    for row, (sample, seen) in enumerate(zip(samples, features, strict=True)):
        num0, num1 = len(seen.features0.keypoints), len(seen.features1.keypoints)
        matches0 = truth.matches0[row, :num0].numpy()
        matched = np.flatnonzero(matches0 >= 0)
        is_matched1 = np.isin(np.arange(num1), matches0[matched])
        unmatched0 = truth.is_unmatched0[row, :num0].numpy()
        unmatched1 = truth.is_unmatched1[row, :num1].numpy()
        sides = [
            _dotted(image, valid, keypoints, is_matched, is_unmatched)
            for (image, valid), keypoints, is_matched, is_unmatched in zip(
                _sides(sample),
                (seen.features0.keypoints, seen.features1.keypoints),
                (matches0 >= 0, is_matched1),
                (unmatched0, unmatched1),
                strict=True,
            )
        ]
        pairs = np.hstack([seen.features0.keypoints[matched], seen.features1.keypoints[matches0[matched]]])
        picture = draw_correspondences(
            sides[0], sides[1], pairs.astype(np.float32), np.ones(len(pairs), np.bool_), max_lines=_MAX_LINES
        )
        drawn.append(Drawn(sample.name, picture, _in_words(seen, len(matched), unmatched0, unmatched1)))
    return drawn


def known_correspondences(sample: Sample) -> Float32Array:
    """Labels; or of truth that is known everywhere, a grid over image 0 where it is seen in image 1: float32 [N, 4]."""
    if isinstance(sample.truth, Labels):
        return sample.truth.points
    views0, views1 = (
        Views([(image.shape[1], image.shape[0])], torch.from_numpy(valid)[None]) for image, valid in _sides(sample)
    )
    truth = truth_batch([sample.truth], views0, views1)
    assert isinstance(truth, (HomographyBatch, PosedBatch))
    height, width = sample.image0.shape[:2]
    step = max(width, height) / _GRID
    x, y = np.arange(step / 2, width, step), np.arange(step / 2, height, step)
    grid = np.column_stack([np.tile(x, len(y)), np.repeat(y, len(x))]).astype(np.float32)
    moved = truth.to_image1(torch.from_numpy(grid)[None])
    is_visible = moved.is_visible[0].numpy()
    return np.asarray(np.hstack([grid, moved.positions[0].numpy()])[is_visible], np.float32)


def _thresholds(model: Trainable) -> Thresholds:
    found = getattr(getattr(model, "config", None), "thresholds", None)
    return found if isinstance(found, Thresholds) else Thresholds()


def _sides(sample: Sample) -> tuple[tuple[Uint8Array, BoolArray], tuple[Uint8Array, BoolArray]]:
    return (sample.image0, sample.valid0), (sample.image1, sample.valid1)


def _in_words(seen: FeatureSample, num_matched: int, unmatched0: BoolArray, unmatched1: BoolArray) -> str:
    num0, num1 = len(unmatched0), len(unmatched1)
    without = np.count_nonzero(unmatched0), np.count_nonzero(unmatched1)
    at_labels = f", {seen.num_labels} of them put at labels" if seen.num_labels else ""
    return (
        f"{num0} and {num1} keypoints: {num_matched} match{at_labels}; {without[0]} and {without[1]} are known to have "
        f"no match; of {num0 - num_matched - without[0]} and {num1 - num_matched - without[1]} nothing is known"
    )


def _striped(image: Uint8Array, valid: BoolArray) -> Uint8Array:
    """A copy with stripes where it is not valid."""
    striped = image.copy()
    rows, columns = (np.arange(num) for num in valid.shape)
    striped[~valid & ((rows[:, None] + columns) // _STRIPE_PX % 2 == 0)] = _EMPTY
    return striped


def _dotted(
    image: Uint8Array, valid: BoolArray, keypoints: Float32Array, is_matched: BoolArray, is_unmatched: BoolArray
) -> Uint8Array:
    """A striped copy with a dot at every keypoint that has no match."""
    dotted = _striped(image, valid)
    for chosen, colour in ((~is_matched & ~is_unmatched, _UNKNOWN), (is_unmatched, _UNMATCHED)):
        for x, y in np.rint(keypoints[chosen]).astype(int).tolist():
            cv2.circle(dotted, (x, y), 2, colour, cv2.FILLED, cv2.LINE_AA)
    return dotted
