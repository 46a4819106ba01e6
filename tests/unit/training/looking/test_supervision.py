"""What a pair teaches is drawn where it is: correspondences, keypoints with and without a match, no photograph."""

from dataclasses import replace

import numpy as np

from gim.geometry.homography import apply_homography
from gim.training.looking.supervision import draw_features, draw_sample, known_correspondences
from gim.training.models._assignment_batch import feature_batch
from gim.training.samples import Homography, Labels
from tests.unit.training.features.fakes import SIZE, fake_extractor, sample_of

RNG = np.random.default_rng(1)


class Collates:
    """Of a model, what drawing asks of it."""

    def collate(self, samples):
        return feature_batch(samples)


def test_labels_are_known_as_they_are():
    sample = sample_of("pair", RNG)
    assert np.array_equal(known_correspondences(sample), sample.truth.points)
    drawn = draw_sample(sample)
    assert drawn.name == "pair"
    assert drawn.words.startswith(f"{len(sample.truth.points)} labels")
    assert drawn.picture.dtype == np.uint8


def test_of_a_homography_a_grid_is_known_where_both_images_are_photographs():
    H = np.array([[1, 0, 9.0], [0, 1, -6], [0, 0, 1]])
    sample = replace(sample_of("pair", RNG), truth=Homography(H))
    points = known_correspondences(sample)
    assert len(points) > 50
    assert np.allclose(apply_homography(points[:, :2], H), points[:, 2:], atol=1e-4)
    for positions, valid in ((points[:, :2], sample.valid0), (points[:, 2:], sample.valid1)):
        x, y = np.rint(positions).astype(int).T
        assert valid[y.clip(0, SIZE[1] - 1), x.clip(0, SIZE[0] - 1)].mean() > 0.95
        assert (positions < np.array(SIZE) - 8).all()  # what lies beyond is padding
    assert "every pixel" in draw_sample(sample).words


def test_stripes_cover_what_is_no_photograph_and_nothing_else():
    sample = replace(sample_of("pair", RNG), truth=Labels(np.empty((0, 4), np.float32)))
    whole = replace(sample, valid0=np.ones_like(sample.valid0), valid1=np.ones_like(sample.valid1))
    striped, plain = draw_sample(sample).picture, draw_sample(whole).picture
    differs = (striped != plain).any(2)
    scale = round((striped.shape[1] - 8) / (2 * SIZE[0]))
    valid = np.repeat(np.repeat(sample.valid0, scale, 0), scale, 1)
    shown = np.repeat(np.repeat(sample.image0, scale, 0), scale, 1)
    assert np.array_equal(plain[-valid.shape[0] :, : valid.shape[1]], shown)
    left = differs[-valid.shape[0] :, : valid.shape[1]]
    assert not left[valid].any()
    assert 0.3 < left[~valid].mean() < 0.7


def test_keypoints_at_labels_are_joined_and_of_the_others_nothing_is_known():
    samples = [sample_of(name, RNG) for name in "ab"]
    extractor = fake_extractor(max_keypoints=60)
    features = extractor.features(samples)
    drawn = draw_features(samples, features, Collates())
    for item, seen in zip(drawn, features, strict=True):
        num = len(seen.features0.keypoints)
        assert seen.num_labels > 5
        assert f"{seen.num_labels} match, {seen.num_labels} of them put at labels" in item.words
        assert f"of {num - seen.num_labels} and" in item.words
        assert "0 and 0 are known to have no match" in item.words
    # Joined by lines in green, which the random images have next to none of.
    green = np.abs(drawn[0].picture.astype(int) - (70, 255, 90)).max(2) < 60
    assert green.sum() > 200


def test_keypoints_of_a_homography_match_have_none_or_lie_between():
    H = np.array([[1, 0, 8.0], [0, 1, 4], [0, 0, 1]])  # of whole steps of the fake keypoints' grid
    sample = replace(sample_of("pair", RNG), truth=Homography(H))
    features = fake_extractor(max_keypoints=400).features([sample])
    drawn = draw_features([sample], features, Collates())[0]
    keypoints0, keypoints1 = (item.keypoints for item in (features[0].features0, features[0].features1))
    places = {tuple(place) for place in keypoints1.tolist()}
    num_matched = sum((x + 8, y + 4) in places for x, y in keypoints0.tolist())
    assert f": {num_matched} match;" in drawn.words
    yellow = np.abs(drawn.picture.astype(int) - (255, 214, 64)).max(2) < 24
    assert yellow.any()
