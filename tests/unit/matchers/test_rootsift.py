"""What is RootSIFT's own: descriptors, the cap, one-to-one by place, distances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ConfigError, ShapeError
from gim.matchers.rootsift import RootSift, RootSiftConfig, hellinger
from gim.records import Features


def noise_image(seed=0, shape=(180, 240)):
    """White noise, doubled in size: full of keypoints."""
    image = np.random.default_rng(seed).integers(0, 256, (shape[0] // 2, shape[1] // 2), np.uint8)
    return np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)


def random_features(seed, num):
    rng = np.random.default_rng(seed)
    return Features(rng.uniform(0, 100, (num, 2)).astype(np.float32), rng.integers(0, 256, (num, 128), np.uint8))


def test_hellinger_is_the_root_of_the_normalised_descriptor():
    descriptors = random_features(0, 50).descriptors
    descriptors[3] = 0
    normalised = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True, dtype=np.int64), 1)
    expected = np.sqrt(normalised)
    np.testing.assert_allclose(hellinger(descriptors), expected, atol=0.5 / 2048 + 1e-7)
    np.testing.assert_allclose(np.linalg.norm(np.delete(hellinger(descriptors), 3, 0), axis=1), 1, atol=1e-3)
    assert not hellinger(descriptors)[3].any()


@given(seed=st.integers(0, 2**32 - 1), low=st.integers(0, 255), share=st.floats(0, 1))
def test_hellinger_dot_products_are_exact_in_float32(seed, low, share):
    rng = np.random.default_rng(seed)
    descriptors = rng.integers(low, 256, (2, 128)).astype(np.uint8) * (rng.random((2, 128)) < share)
    first, second = hellinger(descriptors.astype(np.uint8))
    exact = float(first.astype(np.float64) @ second.astype(np.float64))
    forwards = np.float32(0)
    for product in rng.permutation(first * second):
        forwards += product
    assert float(forwards) == exact
    assert float(first @ second) == exact


def test_hellinger_when_not_uint8_says_so():
    with pytest.raises(ShapeError, match="uint8"):
        hellinger(np.zeros((3, 128), np.float32))


def test_extract_keeps_at_most_max_keypoints_and_the_strongest():
    image = noise_image()
    everything = RootSift(RootSiftConfig()).extract(image)
    few = RootSift(RootSiftConfig(max_keypoints=50)).extract(image)
    assert len(everything.keypoints) > 200
    assert len(few.keypoints) == 50
    assert {*map(tuple, few.keypoints)} <= {*map(tuple, everything.keypoints[:60])}


def test_extract_when_mask_hides_the_strongest_still_fills_the_cap():
    image = noise_image()
    image[:, :120] = image[:, :120] // 4 + 96  # the weaker half is the one that may be used
    mask = np.zeros(image.shape, np.uint8)
    mask[:, :120] = 255
    features = RootSift(RootSiftConfig(max_keypoints=40)).extract(image, mask)
    everything = RootSift(RootSiftConfig()).extract(image, mask)
    np.testing.assert_array_equal(features.keypoints, everything.keypoints[:40])
    assert (features.keypoints[:, 0] < 119.5).all()


def test_extract_of_colour_equals_extract_of_its_grey():
    import cv2

    colour = np.stack([noise_image(seed) for seed in (1, 2, 3)], axis=2)
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    matcher = RootSift(RootSiftConfig())
    np.testing.assert_array_equal(matcher.extract(colour).descriptors, matcher.extract(grey).descriptors)


def test_match_features_is_one_to_one_by_place():
    matcher = RootSift(RootSiftConfig())
    features = random_features(1, 60)
    keypoints = features.keypoints.copy()
    keypoints[30:] = keypoints[:30]  # every place twice, as with two orientations
    twice = Features(keypoints, features.descriptors)
    once = Features(features.keypoints, features.descriptors)
    for features0, features1 in ((twice, twice), (twice, once), (once, twice)):
        matches, similarity = matcher.match_features(features0, features1)
        places0, places1 = features0.keypoints[matches[:, 0]], features1.keypoints[matches[:, 1]]
        assert len(np.unique(places0, axis=0)) == len(np.unique(places1, axis=0)) == len(matches) == 30
        assert len(similarity) == 30
    assert len(matcher.match_features(once, once)[0]) == 60


def test_match_features_of_one_place_keeps_the_most_similar():
    rng = np.random.default_rng(5)
    descriptors0 = rng.integers(0, 256, (2, 128), np.uint8)
    descriptors1 = descriptors0.copy()
    descriptors1[0] = np.clip(descriptors0[0].astype(int) + rng.integers(-40, 40, 128), 0, 255)
    one_place = np.full((2, 2), 7, np.float32)
    two_places = np.array([[1, 1], [2, 2]], np.float32)
    matches, _ = RootSift(RootSiftConfig()).match_features(
        Features(one_place, descriptors0), Features(two_places, descriptors1)
    )
    np.testing.assert_array_equal(matches, [[1, 1]])


def test_distance_equals_that_of_float64_descriptors():
    matcher = RootSift(RootSiftConfig())
    features0, features1 = random_features(2, 40), random_features(3, 30)
    candidates = np.argwhere(np.ones((40, 30))).astype(np.int32)
    distance = matcher.distance(features0, features1, candidates)
    d0, d1 = hellinger(features0.descriptors).astype(np.float64), hellinger(features1.descriptors).astype(np.float64)
    np.testing.assert_allclose(
        distance, np.sqrt(2 - 2 * np.sum(d0[candidates[:, 0]] * d1[candidates[:, 1]], axis=1)), rtol=1e-6
    )
    assert distance.dtype == np.float32


def test_extractor_id_depends_on_what_changes_features_only():
    base = RootSift(RootSiftConfig())
    assert RootSift(RootSiftConfig(ratio=0.9)).extractor_id == base.extractor_id
    assert RootSift(RootSiftConfig(max_keypoints=100)).extractor_id != base.extractor_id
    assert RootSift(RootSiftConfig(contrast_threshold=0.5)).extractor_id != base.extractor_id
    assert RootSift(RootSiftConfig(ratio=0.9)).identity != base.identity


@pytest.mark.parametrize("field", [{"max_keypoints": 0}, {"contrast_threshold": -1}, {"ratio": 0}])
def test_config_when_number_is_absurd_says_so(field):
    with pytest.raises(ConfigError, match="rootsift needs"):
        RootSiftConfig(**field)
