"""LoFTR in two halves: as kornia's whole, in batches, with masks, and where the positions lie."""

import functools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gim.errors import ConfigError, InvalidInput  # noqa: E402
from gim.matchers.nn.dual_softmax import match_dual_softmax  # noqa: E402
from gim.matchers.nn.loftr import ImageMaps, PairwiseLoFTR, loftr_network  # noqa: E402
from gim.matchers.registry import load_matcher  # noqa: E402
from gim.records import ImagePair  # noqa: E402
from tests.golden_weights import filled_like  # noqa: E402
from tests.matcher_files import files_of  # noqa: E402


@functools.cache
def photograph(seed: int, width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 70, (height, width, 3))
    image = np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 4 - 384, 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image


def moved(image: np.ndarray) -> np.ndarray:
    """The same, one coarse cell to the right: even a network without training finds it again."""
    return np.roll(image, 8, axis=1)


@pytest.fixture(scope="module", params=["loftr", "gim_loftr"])
def matcher(request, tmp_path_factory):
    files = files_of(request.param, tmp_path_factory.mktemp(request.param), None)
    return load_matcher(request.param, files.settings)


@pytest.fixture(scope="module")
def plain():
    """kornia's own network, and ours of its parts."""
    network = loftr_network()
    network.load_state_dict(filled_like(network, gain=1.1))
    network.eval()
    network.coarse_matching.thr = 1e-5
    return network, PairwiseLoFTR(network, match_threshold=1e-5, border_cells=2, temperature=0.1)


def test_the_two_halves_are_kornias_forward(plain):
    network, halves = plain
    image = photograph(1, 128, 96)[..., 0]
    grey = [torch.from_numpy(item.copy()).float()[None, None] / 255 for item in (image, moved(image))]
    with torch.inference_mode():
        whole = network({"image0": grey[0], "image1": grey[1]})
        maps = [ImageMaps(*(part[0] for part in halves.encode(image)), None) for image in grey]
        ((keypoints0, keypoints1, confidence),) = halves.match([tuple(maps)])
    assert len(confidence) > 5
    order = np.lexsort(whole["keypoints0"].numpy().T)
    ours = np.lexsort(keypoints0.numpy().T)
    np.testing.assert_allclose(keypoints0.numpy()[ours], whole["keypoints0"].numpy()[order], atol=1e-4)
    np.testing.assert_allclose(keypoints1.numpy()[ours], whole["keypoints1"].numpy()[order], atol=1e-3)
    np.testing.assert_allclose(confidence.numpy()[ours], whole["confidence"].numpy()[order], atol=1e-6)


def slow_matches(features0, features1, threshold):
    """The definition: soft-max over rows times soft-max over columns, and who is best for whom."""
    similarity = features0.astype(np.float64) @ features1.astype(np.float64).T
    exponents = np.exp(similarity - similarity.max())
    confidence = exponents**2 / exponents.sum(1, keepdims=True) / exponents.sum(0, keepdims=True)
    return {
        (i, j): confidence[i, j]
        for i in range(confidence.shape[0])
        for j in range(confidence.shape[1])
        if confidence[i, j] > threshold
        and confidence[i, j] == confidence[i].max()
        and confidence[i, j] == confidence[:, j].max()
    }


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 10**9]))
def test_blocks_of_the_dual_softmax_give_what_the_definition_gives(seed, rows, columns, kept_bytes):
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(number, 16)).astype(np.float32) for number in (rows, columns))
    expected = slow_matches(first, second, 0.05)
    found = match_dual_softmax(torch.from_numpy(first), torch.from_numpy(second), threshold=0.05, kept_bytes=kept_bytes)
    rows, columns, confidence = (part.numpy() for part in found)
    assert {(i, j) for i, j in zip(rows, columns, strict=True)} == set(expected)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_allclose(confidence, [expected[pair] for pair in zip(rows, columns, strict=True)], rtol=1e-4)


def test_a_large_image_is_worked_on_in_blocks_with_the_same_result():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(5000, 32)).astype(np.float32) * 1.5
    first, second = torch.from_numpy(base), torch.from_numpy(base[rng.permutation(len(base))][:4000])
    kept = match_dual_softmax(first, second, threshold=0.2)
    again = match_dual_softmax(first, second, threshold=0.2, kept_bytes=0)
    assert len(kept[0]) > 3900
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_array_equal(one, other)


def as_set(found):
    return {tuple(row) for row in np.round(found.points, 2).tolist()}


def test_pairs_in_one_batch_are_as_each_alone(matcher):
    pairs = [ImagePair(image, moved(image)) for image in (photograph(seed, 160, 128) for seed in range(3))]
    for pair, found in zip(pairs, matcher.match_pairs(pairs), strict=True):
        alone = matcher.match(pair.image0, pair.image1)
        assert len(alone.points) > 5
        assert len(as_set(found) ^ as_set(alone)) <= 0.1 * len(alone.points)


def test_positions_come_back_through_any_resize(matcher, monkeypatch):
    """What the network says at its own positions lies there in the images as given, whatever their sizes."""
    sizes = [(301, 203), (160, 377)]
    images = [photograph(seed, *size) for seed, size in enumerate(sizes)]
    seen = [item.maps for item in matcher.encode(images, [None, None])]
    inputs = [(8 * item.maps.coarse.shape[2], 8 * item.maps.coarse.shape[1]) for item in seen]
    # Fixed points of the scene, as shares of the images' widths and heights from their corners.
    shares = np.random.default_rng(0).uniform(0.1, 0.9, (50, 2)).astype(np.float32)
    places = [torch.from_numpy(shares * np.array(size, np.float32)) for size in inputs]
    monkeypatch.setattr(matcher.network, "match", lambda pairs: [(*places, torch.ones(50))] * len(pairs))
    found = matcher.match(*images)
    for side, size in zip((found.points[:, :2], found.points[:, 2:]), sizes, strict=True):
        np.testing.assert_allclose(side, shares * np.array(size) - 0.5, atol=1e-3)


def test_masked_cells_take_no_part(matcher):
    images = [photograph(5, 200, 120), moved(photograph(5, 200, 120))]
    mask = np.full((120, 200), 255, np.uint8)
    mask[:, :100] = 0
    free, masked = matcher.match(*images), matcher.match(*images, mask, None)
    assert len(free.points) > 10
    assert (np.rint(masked.points[:, 0]) >= 100).all()
    # Cells that were another's best choice are free again: masking before matching is more than dropping after it.
    ones = matcher.match(*images, np.full_like(mask, 255), None)
    np.testing.assert_array_equal(ones.points, free.points)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"max_side_px": 4096}, "position encoding"), ({"max_side_px": 100}, "divisible by 8"), ({"temperature": 0}, "0")],
)
def test_settings_that_cannot_work_are_refused(matcher, settings, said):
    with pytest.raises(ConfigError, match=said):
        load_matcher(matcher.name, {"weights": matcher.config.weights, **settings})


def test_weights_of_the_other_one_are_refused_by_name(tmp_path):
    wrong = files_of("gim_loftr", tmp_path, None).settings["weights"]
    matcher = load_matcher("loftr", {"weights": wrong})
    with pytest.raises(InvalidInput, match="backbone") as refused:
        matcher.match(photograph(1, 64, 64), photograph(2, 64, 64))
    assert "\n" not in str(refused.value)
