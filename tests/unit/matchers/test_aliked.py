"""ALIKED in half precision, its modes of choosing keypoints, and files that are not its own."""

import cv2
import numpy as np
import pytest

from gim.errors import ConfigError, InvalidInput
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")


def aliked(shared_data, precision="float32", **settings):
    file = shared_data / "weights/permissive/aliked-n16.pth"
    inference = InferenceConfig(device="cpu", precision=precision)
    return load_matcher("aliked_mnn", {"aliked_weights": str(file), **settings}, ModelResources(inference))


@pytest.mark.shared
def test_extract_in_half_precision_keeps_places_and_descriptors_of_a_wide_image(shared_data):
    # Wide, since bfloat16 knows no fraction of a column above 128 of the maps that the network samples.
    image = cv2.imread(str(shared_data / "data/posed/kitti06/images/000040.png"), cv2.IMREAD_GRAYSCALE)[90:250]
    full, half = (aliked(shared_data, precision).extract(image) for precision in ("float32", "bfloat16"))
    distance = np.linalg.norm(full.keypoints[:, None] - half.keypoints[None], axis=2)
    nearest = distance.argmin(axis=1)
    is_same = distance.min(axis=1) < 0.25
    assert len(full.keypoints) > 300
    assert is_same.mean() > 0.97
    similarity = np.sum(full.descriptors * half.descriptors[nearest], axis=1)[is_same]
    assert np.median(similarity) > 0.9999


@pytest.mark.shared
def test_extract_without_a_threshold_fills_up_outside_the_mask(shared_data):
    image = cv2.imread(str(shared_data / "golden/images/pair_a_224x160.png"), cv2.IMREAD_COLOR_RGB)
    mask = np.full(image.shape[:2], 255, np.uint8)
    mask[:, :150] = 0
    matcher = aliked(shared_data, detection_threshold=0, max_keypoints=60)
    assert len(matcher.extract(image, mask).keypoints) == 60
    everything = aliked(shared_data, detection_threshold=0, max_keypoints=5000).extract(image)
    is_usable = everything.keypoints[:, 0] >= 149.5
    strongest = everything.keypoints[is_usable][:60]
    np.testing.assert_allclose(matcher.extract(image, mask).keypoints, strongest, atol=1e-4)


def test_a_file_of_another_network_is_refused_by_name(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    matcher = load_matcher("aliked_mnn", {"aliked_weights": str(tmp_path / "other.pth")})
    with pytest.raises(InvalidInput, match=r"other\.pth: not of ALIKED"):
        matcher.extract(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8))


@pytest.mark.shared
def test_extract_of_an_image_without_texture_has_descriptors_of_the_networks_own_length(shared_data):
    file = shared_data / "weights/permissive/aliked-t16.pth"
    matcher = load_matcher("aliked_mnn", {"aliked_weights": str(file)})
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    some, none = matcher.extract_batch([noise, np.zeros((64, 64), np.uint8)], [None, None])
    # A black frame among others is stored with them in one array.
    assert np.vstack([some.descriptors, none.descriptors]).shape[1] == 64


@pytest.mark.shared
def test_lightglue_with_descriptors_of_another_length_is_refused_in_one_line(shared_data, tmp_path):
    from tests.matcher_files import files_of

    settings = files_of("aliked_lightglue", tmp_path, shared_data).settings
    small = {"aliked_weights": str(shared_data / "weights/permissive/aliked-t16.pth")}
    matcher = load_matcher("aliked_lightglue", settings | small)
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    with pytest.raises(ConfigError, match=r"length 128; those of .*t16.* have 64: use aliked_mnn"):
        matcher.match(image, image)
