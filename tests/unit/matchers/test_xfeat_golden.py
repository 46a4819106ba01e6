"""XFeat and LighterGlue with their real weights against kornia's classes and the authors' ONNX export."""

from functools import partial

import numpy as np
import pytest

from gim.matchers.registry import load_matcher
from tests.unit.matchers.keypoint_golden import check_features, in_golden_order
from tests.unit.matchers.two_pass_golden import images_of, stored

pytestmark = pytest.mark.shared


@pytest.fixture
def record(record_parity):
    return partial(record_parity, "real_xfeat_lighterglue")


@pytest.fixture(scope="module")
def golden(shared_data):
    return stored(shared_data / "golden/real_xfeat_lighterglue")


@pytest.fixture(scope="module")
def images(shared_data):
    return images_of(shared_data)


@pytest.fixture(scope="module")
def matcher(shared_data):
    pytest.importorskip("kornia")
    folder = shared_data / "weights/permissive"
    files = {"xfeat_weights": folder / "xfeat_folded.pt", "weights": folder / "xfeat_lighterglue_L3.pt"}
    settings = {name: str(path) for name, path in files.items()}
    return load_matcher("xfeat_lighterglue", settings | {"max_keypoints": 1000})


@pytest.fixture(scope="module")
def features(matcher, images, golden):
    """Of both images, in the order of the golden vectors."""
    found = matcher.extract_batch(images, [None, None])
    return tuple(in_golden_order(found[side], golden[f"keypoints{side}"]) for side in (0, 1))


@pytest.fixture(scope="module")
def matches(matcher, features):
    """Pairs of the golden keypoints' numbers, and how sure each is."""
    ((matches, confidence),) = matcher.match_features_batch([features])
    return matches, confidence


def test_dense_maps_equal_the_golden_ones(shared_data, images, golden, record):
    import torch

    from gim.matchers.nn.xfeat import load_xfeat
    from gim.weights.checkpoint import read_checkpoint

    path = shared_data / "weights/permissive/xfeat_folded.pt"
    xfeat = load_xfeat(read_checkpoint(path), source=path.name, device=torch.device("cpu"), detection_threshold=0.05)
    with torch.inference_mode():
        maps = xfeat.net(torch.from_numpy(images[0]).permute(2, 0, 1)[None] / 255)
    for name, found in zip(("feats_a", "keypoint_logits_a", "heatmap_a"), maps, strict=True):
        assert found.shape == golden[name].shape
        record(name, np.abs(found.numpy() - golden[name]).max(), 1e-3)


@pytest.mark.parametrize("side", [0, 1])
def test_features_equal_the_golden_ones(features, side, golden, record):
    check_features(features[side], golden, record, prefix="", side=side)


def test_lighterglue_matches_what_kornias_class_matches(matches, golden, record):
    assert len(golden["matches"]) == 431
    np.testing.assert_array_equal(matches[0], golden["matches"])
    record("match_scores", np.abs(matches[1] - golden["match_scores"]).max(), 1e-4)


def test_lighterglue_is_as_sure_as_the_export_of_its_authors(matches, golden, record):
    """The export has no threshold, so it has these matches and more."""
    exported = {tuple(pair): score for pair, score in zip(golden["onnx_matches"], golden["onnx_scores"], strict=True)}
    scores = [exported[tuple(pair)] for pair in matches[0]]
    record("onnx_scores", np.abs(matches[1] - scores).max(), 1e-4)
