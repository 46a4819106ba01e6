"""DKM with weights filled by rule: what it finds means nothing, but it must be the same by every way."""

import shutil

import numpy as np
import pytest
import torch

from gim.errors import InvalidInput
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.records import ImagePair
from gim.weights.config import WeightsConfig
from tests.matcher_files import dkm


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return dkm.make(tmp_path_factory.mktemp("dkm"), None).settings | {"num_matches": 300}


@pytest.fixture(scope="module")
def matcher(settings):
    return load_matcher("dkm", settings)


def noise(size, seed):
    """Colours that vary over tens of pixels."""
    small = np.random.default_rng(seed).uniform(0, 255, (3, 1, 8, 8)).astype(np.float32)
    large = torch.nn.functional.interpolate(torch.from_numpy(small), size=size[::-1], mode="bicubic")
    return large[:, 0].permute(1, 2, 0).clamp(0, 255).byte().numpy()


@pytest.fixture(scope="module")
def pairs():
    sizes = [((96, 64), (120, 90)), ((200, 150), (96, 64)), ((96, 64), (120, 90))]
    return [
        ImagePair(*(noise(size, 2 * seed + side) for side, size in enumerate(both))) for seed, both in enumerate(sizes)
    ]


def test_pairs_in_one_batch_are_as_each_alone(matcher, pairs, monkeypatch):
    alone = [matcher.warps([pair])[0] for pair in pairs]
    monkeypatch.setattr(matcher, "_parts", lambda items: [items])
    together = matcher.warps(pairs)
    for expected, found in zip(alone, together, strict=True):
        for one, other in zip(expected, found, strict=True):
            assert one.certainty.any()
            np.testing.assert_allclose(other.points, one.points, rtol=0, atol=2e-3)
            # A place whose target lies on the image's very edge may fall on either side of it.
            is_flipped = (one.certainty == 0) != (other.certainty == 0)
            assert is_flipped.mean() < 1e-3
            np.testing.assert_allclose(other.certainty[~is_flipped], one.certainty[~is_flipped], rtol=0, atol=1e-4)


def test_encoded_images_serve_many_pairs(matcher, pairs):
    images = [pairs[0].image0, pairs[0].image1, pairs[1].image0]
    first, second, third = matcher.encode(images, [None] * 3)
    found = matcher.match_encoded([(first, second), (first, third), (second, first)])
    for (image0, image1), correspondences in zip(((0, 1), (0, 2), (1, 0)), found, strict=True):
        expected = matcher.match(images[image0], images[image1])
        np.testing.assert_array_equal(correspondences.points, expected.points)
        np.testing.assert_array_equal(correspondences.confidence, expected.confidence)


def test_exchanged_images_exchange_the_warps(matcher, pairs):
    image0, image1 = pairs[0].image0, pairs[0].image1
    first, second = matcher.warps([ImagePair(image0, image1)])[0]
    back, forth = matcher.warps([ImagePair(image1, image0)])[0]
    np.testing.assert_allclose(back.points[..., [2, 3, 0, 1]], second.points, rtol=0, atol=1e-3)
    np.testing.assert_allclose(forth.points[..., [2, 3, 0, 1]], first.points, rtol=0, atol=1e-3)


def test_masked_pixels_do_not_count(matcher, pairs):
    """What is masked is hidden from the network: its colours change nothing."""
    pair = pairs[0]
    mask = np.full(pair.image0.shape[:2], 255, np.uint8)
    mask[20:40, 30:60] = 0
    other = np.where(mask[..., None] > 0, pair.image0, noise((96, 64), 9))
    first, second = (matcher.match(image, pair.image1, mask) for image in (pair.image0, other))
    np.testing.assert_array_equal(first.points, second.points)


def test_positions_in_half_precision_are_as_fine_as_in_single(settings, pairs):
    resources = ModelResources(InferenceConfig(precision="bfloat16"))
    found = load_matcher("dkm", settings, resources).warps(pairs[:1])[0][0]
    expected = load_matcher("dkm", settings).warps(pairs[:1])[0][0]
    assert found.points.dtype == np.float32
    # bfloat16 has 256 steps from -1 to 1 at most: positions would coincide.
    assert len(np.unique(found.points[..., 2])) > 0.9 * len(np.unique(expected.points[..., 2])) > 1000
    assert np.median(np.abs(found.points - expected.points)) < 1


def test_weights_with_a_classifier_or_without_a_prefix_load(settings, tmp_path, pairs, matcher):
    state = torch.load(settings["weights"], weights_only=True)["state_dict"]
    plain = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    path = tmp_path / "plain.pth"
    torch.save(plain | {"encoder.net.fc.weight": torch.zeros(2, 2), "encoder.net.fc.bias": torch.zeros(2)}, path)
    found = load_matcher("dkm", settings | {"weights": str(path)}).match(pairs[0].image0, pairs[0].image1)
    np.testing.assert_array_equal(found.points, matcher.match(pairs[0].image0, pairs[0].image1).points)


def test_weights_of_another_model_are_refused_by_name(settings, tmp_path):
    state = torch.load(settings["weights"], weights_only=True)["state_dict"]
    state.pop("model.decoder.proj.16.bias")
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(InvalidInput, match=r"decoder\.proj\.16\.bias"):
        assert load_matcher("dkm", settings | {"weights": str(path)}).network


def test_images_are_normalised_as_the_named_weights_were_trained(settings, tmp_path, pairs):
    shutil.copy(settings["weights"], tmp_path / "DKMv3_outdoor.pth")
    named = ModelResources(weights=WeightsConfig(dir=str(tmp_path), cache=str(tmp_path / "cache")))
    ours = load_matcher("dkm", settings)
    theirs = load_matcher("dkm", settings | {"weights": "dkm_outdoor"}, named)
    told = load_matcher("dkm", settings | {"normalisation": "imagenet"})
    refused = load_matcher("dkm", settings | {"weights": "dkm_outdoor", "normalisation": "none"}, named)
    image = [pairs[0].image0]
    plain = ours._input(image, (80, 64)).numpy()
    expected = (plain - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
    np.testing.assert_allclose(theirs._input(image, (80, 64)), expected, atol=1e-6)
    np.testing.assert_allclose(told._input(image, (80, 64)), expected, atol=1e-6)
    np.testing.assert_array_equal(refused._input(image, (80, 64)), plain)
    # One file read in two ways is two teachers; read in one way it is one, whatever it is called.
    assert theirs.identity == told.identity
    assert refused.identity == ours.identity != theirs.identity
