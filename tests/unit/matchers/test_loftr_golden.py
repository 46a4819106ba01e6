"""LoFTR and GIM's LoFTR against what the original networks computed with weights made from the tensors' names."""

import cv2
import numpy as np
import pytest

from gim.geometry.pixels import from_corner_origin
from gim.matchers.registry import load_matcher
from gim.records import ImagePair
from tests.golden_weights import filled_manifest, manifest, save_checkpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.shared

SETS = {"loftr": "loftr_official", "gim_loftr": "loftr"}


@pytest.fixture(scope="module", params=SETS)
def golden(request, shared_data, tmp_path_factory):
    """Name of the matcher, folder of its golden set, the weights as a state dict, and the stored numbers."""
    folder = shared_data / "golden" / SETS[request.param]
    with np.load(folder / "golden.npz") as stored:
        return request.param, folder, filled_manifest(folder), dict(stored)


@pytest.fixture(scope="module")
def images(golden, shared_data):
    name = golden[0]
    paths = [str(shared_data / f"golden/images/pair_{letter}_224x160.png") for letter in "ab"]
    if name == "loftr":
        return [cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in paths]
    return [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in paths]


@pytest.fixture(scope="module")
def matcher(golden, tmp_path_factory):
    name, _, state, _ = golden
    path = save_checkpoint(state, tmp_path_factory.mktemp(name) / "weights.ckpt", prefix="matcher.")
    return load_matcher(name, {"weights": str(path), "match_threshold": 1e-5})


def record(record_parity, golden, quantity, found, expected, tolerance):
    record_parity(golden, quantity, np.abs(np.asarray(found) - expected).max(), tolerance)


def test_network_has_exactly_the_published_tensors(golden):
    from gim.matchers.nn import loftr

    name, folder, _, _ = golden
    network = {"loftr": loftr.loftr_network, "gim_loftr": loftr.gim_loftr_network}[name]()
    own = [
        [key, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in network.state_dict().items()
    ]
    assert own == manifest(folder)["tensors"]


def test_matches_are_those_of_the_original(golden, matcher, images, record_parity):
    name, _, _, stored = golden
    found = matcher.match(*images)
    expected = np.hstack([from_corner_origin(stored["mkpts0_f"]), from_corner_origin(stored["mkpts1_f"])])
    assert len(found.points) == len(expected)
    record(record_parity, SETS[name], "keypoints, pixels", found.points, expected, 1e-3)
    record(record_parity, SETS[name], "confidence", found.confidence, stored["mconf"], 1e-5)


def test_maps_and_confidences_are_those_of_the_original(golden, matcher, images, record_parity):
    name, _, _, stored = golden
    maps = [item.maps.maps for item in matcher.encode(images, [None, None])]
    runner = matcher.network
    with torch.inference_mode():
        if "feat_c" in stored:
            nothing = torch.zeros_like(maps[0].coarse)[None]
            coarse = [item.coarse - runner.network.pos_encoding(nothing)[0] for item in maps]
            fine = [item.fine[:, 16:48, 16:48] for item in maps]
            record(record_parity, SETS[name], "coarse features", torch.stack(coarse), stored["feat_c"], 1e-4)
            record(record_parity, SETS[name], "fine features", torch.stack(fine), stored["feat_f_crop"], 1e-4)
        tokens0, tokens1 = runner.coarse_tokens([tuple(maps)])
        similarity = tokens0[0] @ tokens1[0].T / (256 * 0.1)
        confidence = similarity.softmax(0) * similarity.softmax(1)
    record(record_parity, SETS[name], "confidence matrix", confidence, stored["conf_matrix"], 1e-5)


@pytest.mark.parametrize("prefix", ["", "model.", "matcher."])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_published_layouts_load_alike(golden, matcher, images, tmp_path, prefix, is_wrapped):
    name, _, state, _ = golden
    state = {prefix + key: tensor for key, tensor in state.items()}
    torch.save({"state_dict": state, "epoch": 7} if is_wrapped else state, tmp_path / "other.ckpt")
    other = load_matcher(name, {"weights": str(tmp_path / "other.ckpt"), "match_threshold": 1e-5})
    expected, found = matcher.match(*images), other.match_pairs([ImagePair(*images)])[0]
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
