"""The whole matcher of SuperPoint and SuperGlue; its steps are in `test_superpoint` and `test_superglue`."""

import cv2
import numpy as np
import pytest

from gim.errors import ConfigError, InvalidInput
from gim.matchers.registry import load_matcher
from gim.records import ImagePair
from tests.matcher_files import files_of

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return files_of("superpoint_superglue", tmp_path_factory.mktemp("weights"), None).settings


@pytest.fixture(scope="module")
def noise():
    image = cv2.GaussianBlur(np.random.default_rng(3).random((256, 320), np.float32), None, 1.5)
    return cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def test_image_moved_by_whole_cells_is_matched_exactly(settings, noise):
    matcher = load_matcher("superpoint_superglue", settings)
    image0, image1 = noise[:-16, :-8], noise[16:, 8:]
    found, _ = matcher.match_pairs([ImagePair(image0, image1), ImagePair(image1, image0)])
    is_exact = (found.points[:, 2:] == found.points[:, :2] - (8, 16)).all(axis=1)
    # The untrained network sees the zeros around the image from afar; where it does not, nothing is wrong.
    is_inner = ((found.points[:, :2] > 64) & (found.points[:, :2] < (248, 176))).all(axis=1)
    assert is_inner.sum() > 20
    assert is_exact[is_inner].all()


def test_thresholds_and_iterations_are_those_of_the_settings(settings, noise):
    def match(**change):
        return load_matcher("superpoint_superglue", settings | change).match(noise, noise[:, 8:])

    usual, strict, short = match(), match(match_threshold=0.6), match(sinkhorn_iterations=1)
    assert 0 < len(strict.points) == np.count_nonzero(usual.confidence > 0.6) < len(usual.points)
    assert not np.array_equal(short.confidence, usual.confidence)


def test_weights_of_the_other_network_are_refused(settings, noise):
    changed_about = settings | {"weights": settings["superpoint_weights"], "superpoint_weights": settings["weights"]}
    with pytest.raises(InvalidInput, match=r"superpoint_v1\.pth"):
        load_matcher("superpoint_superglue", changed_about).match(noise, noise)


@pytest.mark.parametrize("wrong", [{"sinkhorn_iterations": 0}, {"match_threshold": 2}, {"superpoint_weights": ""}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        load_matcher("superpoint_superglue", wrong)
