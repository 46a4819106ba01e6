"""Samples as features: labels in front and exactly in place, nothing where no photograph is; real weights, too."""

import dataclasses

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("kornia")

from gim.errors import ConfigError, InvalidInput
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.training.features.loading import load_extractor
from gim.training.features.settings import KeypointSettings
from gim.training.samples import Homography, Labels, Sample
from gim.weights.config import WeightsConfig
from tests.unit.training.features.fakes import fake_extractor, sample_of


@pytest.fixture
def samples():
    rng = np.random.default_rng(5)
    return [sample_of(f"pair-{number}", rng, num_labels=8 + number) for number in range(3)]


def rows_of(points):
    return sorted(map(tuple, points.tolist()))


def test_keypoint_i_of_either_image_is_label_i_of_the_truth(samples):
    extractor = fake_extractor(max_keypoints=20, label_share=0.5)
    for sample, found in zip(samples, extractor.features(samples), strict=True):
        labels, num = found.truth.points, found.num_labels
        assert 5 <= num <= 10
        np.testing.assert_array_equal(found.features0.keypoints[:num], labels[:num, :2])
        np.testing.assert_array_equal(found.features1.keypoints[:num], labels[:num, 2:])
        assert rows_of(labels) == rows_of(sample.truth.points)  # the others follow, none is lost
        assert (found.name, found.part) == (sample.name, sample.part)
        assert len(found.features0.keypoints) == 20


def test_labels_are_drawn_only_where_both_images_are_photographs(samples):
    for found in fake_extractor(label_share=1.0).features(samples):
        columns, rows = np.rint(found.truth.points[: found.num_labels].reshape(-1, 2)).astype(int).T
        assert found.num_labels == len(found.truth.points) - 3  # all but those that lie outside
        assert (columns >= 0).all()
        assert (columns < 56).all()
        assert (rows < 40).all()


def test_detected_keypoints_stay_away_from_the_edge_of_the_photograph_but_not_of_the_image(samples):
    (found,) = fake_extractor(max_keypoints=400, at_labels=False, border_px=4).features(samples[:1])
    columns, rows = found.features0.keypoints.T
    assert (columns.min(), rows.min()) == (0, 0)
    assert (columns.max(), rows.max()) == (48, 32)  # of every fourth pixel below 56 - 4 and 40 - 4


def test_at_labels_false_and_other_truths_have_detected_keypoints_only(samples):
    homography = dataclasses.replace(samples[0], truth=Homography(np.eye(3)))
    for extractor, sample in ((fake_extractor(at_labels=False), samples[0]), (fake_extractor(), homography)):
        (found,) = extractor.features([sample])
        assert found.num_labels == 0
        assert found.truth is sample.truth or rows_of(found.truth.points) == rows_of(sample.truth.points)
        np.testing.assert_array_equal(found.features0.keypoints[0], (0, 0))


def test_a_sample_has_the_same_features_in_any_company(samples):
    together = fake_extractor().features(samples)
    for sample, ours in zip(samples, together, strict=True):
        (alone,) = fake_extractor().features([sample])
        np.testing.assert_array_equal(ours.truth.points, alone.truth.points)
        np.testing.assert_array_equal(ours.features1.keypoints, alone.features1.keypoints)


def test_images_of_one_size_share_batches_up_to_the_settings():
    rng = np.random.default_rng(0)
    samples = [sample_of(str(number), rng) for number in range(6)]
    extractor = fake_extractor()
    extractor.features(samples)
    assert extractor._network.batches == [8, 4]


def test_a_blank_image_has_no_features_and_its_pair_no_labels(samples):
    blank = dataclasses.replace(samples[0], image1=np.zeros_like(samples[0].image1))
    hidden = dataclasses.replace(samples[0], valid0=np.zeros_like(samples[0].valid0))
    for sample, counts in ((blank, (40, 0)), (hidden, (0, 40))):
        (found,) = fake_extractor().features([sample])
        assert (len(found.features0.keypoints), len(found.features1.keypoints)) == counts
        assert found.num_labels == 0
        assert found.features1.descriptors.shape[1] == 8


def test_a_pair_without_labels_has_none_in_front(samples):
    empty = dataclasses.replace(samples[0], truth=Labels(np.empty((0, 4), np.float32)))
    (found,) = fake_extractor().features([empty])
    assert found.num_labels == 0
    assert len(found.features0.keypoints) == 40


def test_an_unknown_extractor_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no extractor 'x-feat' \(did you mean xfeat\?\); use one of xfeat, aliked"):
        load_extractor("x-feat")


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"max_keypoints": 0}, {"label_share": 1.5}, {"border_px": -1}, {"detection_threshold": -0.1}):
        with pytest.raises(ConfigError, match="features need"):
            KeypointSettings(**wrong)


# --- real weights -----------------------------------------------------------------------------------------------------


def loaded(name, file, shared_data, folder, **settings):
    resources = ModelResources(InferenceConfig(device="cpu"), WeightsConfig(cache=str(folder)))
    path = str(shared_data / "weights/permissive" / file)
    return load_extractor(name, path, KeypointSettings(**{"max_keypoints": 256, **settings}), resources)


@pytest.fixture(scope="module")
def labelled(shared_data):
    """A real pair with labels by RootSIFT, as the labelling makes them of films."""
    folder = shared_data / "golden/images"
    images = [cv2.imread(str(folder / f"pair_{name}_480x320.png"), cv2.IMREAD_COLOR_RGB) for name in "ab"]
    valid = np.ones(images[0].shape[:2], np.bool_)
    labels = load_matcher("rootsift").match(*(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images))
    return Sample("real/a_b", "video", *images, valid, valid, Labels(labels.points.astype(np.float32)))


@pytest.mark.shared
def test_xfeat_at_corresponding_labels_of_a_real_pair_is_more_alike_than_at_others(shared_data, labelled, tmp_path):
    extractor = loaded("xfeat", "xfeat_folded.pt", shared_data, tmp_path)
    (found,) = extractor.features([labelled])
    num = found.num_labels
    assert num > 60
    assert len(found.features0.keypoints) > num + 60
    similarity = found.features0.descriptors[:num] @ found.features1.descriptors[:num].T
    own, others = np.diag(similarity), similarity[~np.eye(num, dtype=bool)]
    assert np.median(own) > np.percentile(others, 99) > np.median(others) + 0.2
    assert np.mean(similarity.argmax(axis=1) == np.arange(num)) > 0.6
    assert np.isfinite(found.features0.scores).all()


@pytest.mark.shared
def test_weights_of_another_network_are_refused_by_name(shared_data, tmp_path):
    with pytest.raises(InvalidInput, match=r"aliked-n16\.pth|aliked_n16"):
        loaded("xfeat", "aliked-n16.pth", shared_data, tmp_path)


@pytest.mark.shared
def test_identity_of_an_extractor_changes_with_its_weights_and_settings(shared_data, tmp_path):
    made = [
        loaded("aliked", "aliked-n16.pth", shared_data, tmp_path),
        loaded("aliked", "aliked-t16.pth", shared_data, tmp_path),
        loaded("aliked", "aliked-n16.pth", shared_data, tmp_path, label_share=1.0),
    ]
    assert len({str(extractor.identity()) for extractor in made}) == 3
    assert [extractor.descriptor_size for extractor in made] == [128, 64, 128]
    assert made[0].settings.detection_threshold == 0.2  # the published one is stated, not left open
    assert made[0].weights.licence == "BSD-3-Clause"
