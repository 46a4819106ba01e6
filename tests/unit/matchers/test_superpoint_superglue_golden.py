"""SuperPoint and SuperGlue as published, against what the originals computed."""

from functools import partial

import cv2
import numpy as np
import pytest

from gim.matchers.registry import load_matcher
from gim.records import Features
from tests.golden_weights import filled_manifest, manifest, save_parts

pytestmark = pytest.mark.shared


@pytest.fixture
def check_parity(record_parity):
    return partial(record_parity, "superglue")


@pytest.fixture(scope="module")
def golden(shared_data):
    return np.load(shared_data / "golden/superglue/golden.npz")


@pytest.fixture(scope="module")
def matcher(shared_data, tmp_path_factory):
    into = tmp_path_factory.mktemp("weights")
    files = {"superpoint.": into / "superpoint_v1.pth", "superglue.": into / "superglue_outdoor.pth"}
    save_parts(filled_manifest(shared_data / "golden/superglue"), files)
    settings = {"max_keypoints": 256, "detection_threshold": 0.0}
    paths = {"superpoint_weights": str(files["superpoint."]), "weights": str(files["superglue."])}
    return load_matcher("superpoint_superglue", settings | paths)


@pytest.fixture(scope="module")
def planted(golden):
    """Features with known matches."""
    size = (int(golden["image_hw"][1]), int(golden["image_hw"][0]))
    return tuple(
        Features(
            golden[f"in_keypoints{side}"], golden[f"in_descriptors{side}"], golden[f"in_scores{side}"], image_size=size
        )
        for side in (0, 1)
    )


def test_networks_have_exactly_the_tensors_of_the_published_files(shared_data):
    from gim.matchers.nn.superglue import SuperGlue
    from gim.matchers.nn.superpoint import SuperPoint

    networks = {"superpoint": SuperPoint(), "superglue": SuperGlue(sinkhorn_iterations=1)}
    ours = {
        f"{name}.{key}": list(tensor.shape)
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    assert ours == {name: shape for name, shape, _ in manifest(shared_data / "golden/superglue")["tensors"]}


def test_superpoint_finds_what_the_original_finds(matcher, golden, shared_data, check_parity):
    folder = shared_data / "golden/images"
    images = [cv2.imread(str(folder / f"pair_{name}_480x320.png"), cv2.IMREAD_GRAYSCALE) for name in "ab"]
    for side, found in enumerate(matcher.extract_batch(images, [None, None])):
        row_of = {tuple(place): row for row, place in enumerate(found.keypoints)}
        places = [tuple(place) for place in golden[f"sp_keypoints{side}"]]
        assert set(row_of) == set(places)
        rows = [row_of[place] for place in places]
        for name, ours in (("scores", found.scores[rows]), ("descriptors", found.descriptors[rows].T)):
            check_parity(f"sp_{name}{side}", np.abs(ours - golden[f"sp_{name}{side}"]).max(), 1e-5)


def test_superglue_scores_and_assigns_as_the_original_does(matcher, planted, golden, check_parity):
    import torch

    from gim.matchers.nn.assignment import KeypointBatch
    from gim.matchers.nn.superglue import keypoint_inputs

    network = matcher.network[1].network
    inputs = [
        KeypointBatch(torch.from_numpy(keypoint_inputs(item)[None]), torch.from_numpy(item.descriptors[None]))
        for item in planted
    ]
    with torch.inference_mode():
        similarity = network.similarity(*inputs)[0].numpy()
        log_assignment = matcher.network[1].log_assignment([planted])[0].numpy()
    check_parity("sim", np.abs(similarity - golden["sim"]).max(), 1e-4)
    check_parity("log_assignment", np.abs(log_assignment - golden["log_assignment"]).max(), 1e-3)


def test_superglue_matches_what_the_original_matches(matcher, planted, golden, check_parity):
    (matches, confidence), *_ = matcher.match_features_batch([planted, planted])
    matched = np.flatnonzero(golden["matches0"] >= 0)
    assert len(matched) == 161
    np.testing.assert_array_equal(matches, np.column_stack([matched, golden["matches0"][matched]]))
    check_parity("scores", np.abs(confidence - golden["matching_scores0"][matched]).max(), 1e-5)
