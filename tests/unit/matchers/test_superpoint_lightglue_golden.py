"""SuperPoint and LightGlue as GIM has them, against what the original computed."""

from functools import partial

import cv2
import numpy as np
import pytest

from gim.geometry.pixels import from_corner_origin
from gim.matchers.registry import load_matcher
from gim.records import Features
from tests.golden_weights import filled_manifest, manifest, save_checkpoint

pytestmark = pytest.mark.shared

SIZE = (480, 320)


@pytest.fixture
def check_parity(record_parity):
    return partial(record_parity, "lightglue")


@pytest.fixture(scope="module")
def golden(shared_data):
    return np.load(shared_data / "golden/lightglue/golden.npz")


@pytest.fixture(scope="module")
def matcher(shared_data, tmp_path_factory):
    folder = shared_data / "golden/lightglue"
    path = tmp_path_factory.mktemp("weights") / manifest(folder)["checkpoint_file"]
    save_checkpoint(filled_manifest(folder), path)
    return load_matcher("superpoint_lightglue", {"max_keypoints": 256, "weights": str(path)})


@pytest.fixture(scope="module")
def features(matcher, shared_data):
    """Of both images, in the order of the golden vectors: equal strengths may change places by a rounding."""
    folder = shared_data / "golden/images"
    images = [cv2.imread(str(folder / f"pair_{name}_480x320.png"), cv2.IMREAD_GRAYSCALE) for name in "ab"]
    return matcher.extract_batch(images, [None, None])


def in_golden_order(found, keypoints):
    """Features by the place of golden keypoints, which must be the same set."""
    row_of = {tuple(place): row for row, place in enumerate(found.keypoints)}
    places = [tuple(place) for place in from_corner_origin(keypoints)]
    assert set(row_of) == set(places)
    rows = [row_of[place] for place in places]
    return Features(found.keypoints[rows], found.descriptors[rows], found.scores[rows], found.image_size)


def test_networks_have_exactly_the_tensors_of_the_published_file(shared_data):
    from gim.matchers.nn.lightglue import LightGlueNetwork
    from gim.matchers.nn.superpoint import SuperPoint

    ours = {f"superpoint.{key}": list(tensor.shape) for key, tensor in SuperPoint().state_dict().items()}
    lightglue = LightGlueNetwork().state_dict()
    ours |= {f"model.{key}": list(lightglue[key].shape) for key in lightglue if key != "confidence_thresholds"}
    assert ours == {name: shape for name, shape, _ in manifest(shared_data / "golden/lightglue")["tensors"]}


@pytest.mark.parametrize("side", [0, 1])
def test_superpoint_finds_what_the_original_finds(features, golden, side, check_parity):
    found = in_golden_order(features[side], golden[f"sp_keypoints{side}"])
    difference = np.abs(found.descriptors - golden[f"sp_descriptors{side}"]).max()
    check_parity(f"sp_descriptors{side}", difference, 1e-5)


def test_lightglue_matches_what_the_original_matches(matcher, golden, check_parity):
    import torch

    pair = tuple(
        Features(from_corner_origin(golden[f"lg_in_keypoints{side}"]), golden[f"lg_in_descriptors{side}"], None, SIZE)
        for side in (0, 1)
    )
    (matches, confidence), *_ = matcher.match_features_batch([pair, pair])
    np.testing.assert_array_equal(matches, golden["lg_matches"])
    assert matches.dtype == np.int32
    check_parity("lg_scores", np.abs(confidence - golden["lg_scores"]).max(), 1e-5)
    with torch.inference_mode():
        log_assignment = matcher.network[1].log_assignment([pair])[0].numpy()
    difference = np.abs(log_assignment - golden["lg_log_assignment"]).max()
    check_parity("lg_log_assignment", difference, 1e-3)


def test_both_together_compute_what_the_original_computes(matcher, features, golden, check_parity):
    import torch

    pair = tuple(in_golden_order(features[side], golden[f"sp_keypoints{side}"]) for side in (0, 1))
    with torch.inference_mode():
        log_assignment = matcher.network[1].log_assignment([pair])[0].numpy()
    difference = np.abs(log_assignment - golden["e2e_log_assignment"]).max()
    check_parity("e2e_log_assignment", difference, 1e-3)
