"""RootSIFT against GIM's rule, computed here with OpenCV and nothing of ours.

Ours deviates on purpose: positions without OpenCV's quarter pixel, descriptors rounded to 2^-11, one match per place.
Each deviation is shown to make all the difference, and how large the difference is.
"""

from functools import partial

import cv2
import numpy as np
import pytest

from gim.geometry.epipolar import sampson_distance_px
from gim.matchers import rootsift
from gim.matchers.rootsift import RootSift, RootSiftConfig

pytestmark = pytest.mark.shared

LABELLING = 32400  # `nfeatures` of the original's labels
FEW = 1000  # less than OpenCV finds on these images


@pytest.fixture
def record(record_parity):
    return partial(record_parity, "rootsift")


@pytest.fixture(scope="module")
def images(shared_data):
    """As GIM reads them: in colour, blue first."""
    return [cv2.imread(str(shared_data / f"golden/images/pair_{side}_480x320.png")) for side in "ab"]


def by_rule(images, num_features, *, is_precise):
    """Keypoints of both images, and GIM's matches (x0, y0, x1, y1) with their similarity."""
    keypoints, roots = [], []
    for image in images:
        sift = cv2.SIFT_create(num_features, contrastThreshold=1e-5, enable_precise_upscale=is_precise)
        found, descriptors = sift.detectAndCompute(image, None)
        keypoints.append(np.array([keypoint.pt for keypoint in found], np.float32))
        roots.append(np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1)))
    similarity = roots[0] @ roots[1].T
    nearest = similarity.argmax(axis=1)
    is_mutual = similarity.argmax(axis=0)[nearest] == np.arange(len(nearest))
    second, first = np.sqrt(np.maximum(2 - 2 * np.partition(similarity, -2, axis=1)[:, -2:], 0)).T
    matches = {}
    for row in np.flatnonzero(is_mutual & (first < 0.8 * second)):
        match = (*keypoints[0][row], *keypoints[1][nearest[row]])  # several where keypoints have several angles
        matches[match] = max(matches.get(match, 0), similarity[row, nearest[row]])
    return keypoints, matches


def by_us(images, num_features):
    """The same of ours."""
    matcher = RootSift(RootSiftConfig(max_keypoints=num_features, contrast_threshold=1e-5))
    features = [matcher.extract(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) for image in images]
    matches, similarity = matcher.match_features(*features)
    places = (features[side].keypoints[matches[:, side]] for side in (0, 1))
    return [item.keypoints for item in features], dict(
        zip(map(tuple, np.hstack(list(places))), similarity, strict=True)
    )


def one_per_place(matches):
    """Without those that a more similar one shares a place with."""
    return {
        match
        for match, similarity in matches.items()
        if all(
            similarity >= other_similarity
            for other, other_similarity in matches.items()
            if other[:2] == match[:2] or other[2:] == match[2:]
        )
    }


def one_sided_share(found, expected):
    found, expected = set(found), set(expected)
    return len(found ^ expected) / len(found | expected)


@pytest.mark.parametrize("num_features", [LABELLING, FEW])
def test_keypoints_and_matches_are_those_of_the_rule(images, record, num_features):
    keypoints, matches = by_us(images, num_features)
    expected_keypoints, expected = by_rule(images, num_features, is_precise=True)
    for found, wanted in zip(keypoints, expected_keypoints, strict=True):
        np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(wanted, axis=0))
    assert len(expected) > 150
    what = f"share of matches that only one of both has, at most {num_features} features"
    record(what, one_sided_share(matches, expected), 0.03)


@pytest.mark.parametrize("num_features", [LABELLING, FEW])
def test_rounding_and_one_per_place_are_the_whole_difference(images, record, monkeypatch, num_features):
    def not_rounded(descriptors):
        return np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True, dtype=np.float32), 1))

    monkeypatch.setattr(rootsift, "hellinger", not_rounded)
    expected = one_per_place(by_rule(images, num_features, is_precise=True)[1])
    share = one_sided_share(by_us(images, num_features)[1], expected)
    record(f"the same, descriptors not rounded, one match per place, at most {num_features} features", share, 0)


def test_positions_differ_from_the_originals_by_opencvs_quarter_pixel(images, record):
    (found, _), matches = by_us(images, LABELLING)
    (original, _), expected = by_rule(images, LABELLING, is_precise=False)
    offsets = (original[:, None] - found[None]).reshape(-1, 2)
    offsets = offsets[np.abs(offsets).max(axis=1) < 0.5]
    assert len(offsets) > len(found) / 2
    away = np.abs(np.median(offsets, axis=0) - 0.25).max()
    record("keypoints, less the quarter pixel of the original: median, pixels", away, 0.02)
    few, many = num_inliers(matches, expected)
    record("share of the original's inliers that ours are short of", 1 - few / many, 0.2)


def num_inliers(*results):
    """How many matches of each are within a pixel of the epipolar geometry that all of them have in common."""
    rows = [np.array(sorted(matches), np.float64) for matches in results]
    everything = np.concatenate(rows)
    F01, _ = cv2.findFundamentalMat(everything[:, :2], everything[:, 2:], cv2.USAC_MAGSAC, 1.0, 0.99999, 10_000)
    return [int((sampson_distance_px(matches, F01) < 1).sum()) for matches in rows]
