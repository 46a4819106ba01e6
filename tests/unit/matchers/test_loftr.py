"""LoFTR in two halves: as kornia's whole, in batches, with masks, and where the positions lie."""

import functools
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from gim.errors import ConfigError, InvalidInput  # noqa: E402
from gim.matchers.network import ModelResources  # noqa: E402
from gim.matchers.nn.dual_softmax import match_dual_softmax  # noqa: E402
from gim.matchers.nn.loftr import ImageMaps, PairwiseLoFTR, loftr_network  # noqa: E402
from gim.matchers.registry import load_matcher  # noqa: E402
from gim.records import ImagePair  # noqa: E402
from gim.weights.config import WeightsConfig  # noqa: E402
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


def tensors(*images: np.ndarray) -> list:
    return [torch.from_numpy(image.copy()).float()[None, None] / 255 for image in images]


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("masked", [(), (0,), (0, 1)])
def test_the_two_halves_are_kornias_forward(plain, is_cut, masked):
    network, halves = plain
    image = photograph(1, 160, 128)[..., 0]
    grey = tensors(image, moved(image)[:104, :144] if is_cut else moved(image))
    masks = {f"mask{side}": torch.ones(1, *grey[side].shape[2:], dtype=torch.bool) for side in masked}
    for mask in masks.values():
        mask[:, 16:56, 24:72] = False
    cells = [masks[f"mask{side}"][0, ::8, ::8].flatten() if side in masked else None for side in (0, 1)]
    with torch.inference_mode():
        whole = network({"image0": grey[0], "image1": grey[1], **masks})
        maps = [
            ImageMaps(*(part[0] for part in halves.encode(image)), usable)
            for image, usable in zip(grey, cells, strict=True)
        ]
        ((keypoints0, keypoints1, confidence),) = halves.match([tuple(maps)])
    assert len(confidence) > 5
    torch.testing.assert_close(keypoints0, whole["keypoints0"], rtol=0, atol=0)
    torch.testing.assert_close(keypoints1, whole["keypoints1"], rtol=0, atol=1e-3)
    torch.testing.assert_close(confidence, whole["confidence"], rtol=1e-4, atol=1e-7)


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


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation made."""

    num_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, torch.Tensor):
                self.num_bytes = max(self.num_bytes, one.nbytes)
        return made


def test_similarities_that_are_not_kept_never_stand_in_memory_together():
    features = torch.randn(6000, 16, generator=torch.Generator().manual_seed(0))
    with LargestTensor() as largest:
        match_dual_softmax(features, features, threshold=0.2, kept_bytes=0)
    assert largest.num_bytes <= 16 * 2**20 < 4 * 6000**2


def test_cells_that_tie_to_the_last_bit_are_matched_once():
    features = torch.eye(4)[[0, 0, 1, 2]] * 5
    rows, columns, _ = match_dual_softmax(features, features[1:], threshold=0)
    assert len(rows) == len(set(columns.tolist())) == 3


def assert_close(found, expected):
    """As equal as sums in another order are; untrained weights leave no doubt about any cell."""
    assert len(found.points) == len(expected.points) >= 3
    np.testing.assert_allclose(found.points, expected.points, atol=1e-3)
    np.testing.assert_allclose(found.confidence, expected.confidence, rtol=1e-3)


def test_pairs_in_one_batch_are_as_each_alone(matcher):
    pairs = [ImagePair(image, moved(image)) for image in (photograph(seed, 160, 128) for seed in range(3))]
    mask = np.full((128, 160), 255, np.uint8)
    mask[40:80, :90] = 0
    pairs[1] = replace(pairs[1], mask0=mask)
    for pair, found in zip(pairs, matcher.match_pairs(pairs), strict=True):
        assert_close(found, matcher.match(pair.image0, pair.image1, pair.mask0, pair.mask1))


def test_maps_of_an_image_serve_all_its_pairs(matcher):
    images = [photograph(7, 160, 128), moved(photograph(7, 160, 128)), moved(moved(photograph(7, 160, 128)))]
    encoded = matcher.encode(images, [None] * 3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    found = matcher.match_encoded([(encoded[i], encoded[j]) for i, j in pairs])
    for (i, j), matches in zip(pairs, found, strict=True):
        assert_close(matches, matcher.match(images[i], images[j]))


def test_backbone_sees_few_large_images_at_a_time(matcher, monkeypatch):
    images, sizes = [photograph(seed, 160, 128) for seed in range(3)], []
    together = matcher.encode(images, [None] * 3)
    encode = matcher.network.encode
    monkeypatch.setattr("gim.matchers.nn.loftr._BACKBONE_PIXELS", 2 * 160 * 128 + 1)
    monkeypatch.setattr(matcher.network, "encode", lambda part: sizes.append(len(part)) or encode(part))
    for one, other in zip(together, matcher.encode(images, [None] * 3), strict=True):
        torch.testing.assert_close(one.maps.maps.fine, other.maps.maps.fine, rtol=0, atol=1e-4)
    assert sizes == [2, 1]


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


def test_positions_are_encoded_as_the_named_weights_were_trained(tmp_path):
    path = files_of("loftr", tmp_path, None).settings["weights"]
    shutil.copy(path, tmp_path / "loftr_indoor_ds_new.ckpt")
    named = ModelResources(weights=WeightsConfig(dir=str(tmp_path), cache=str(tmp_path / "cache")))
    indoor = load_matcher("loftr", {"weights": "loftr_indoor"}, named)
    told = load_matcher("loftr", {"weights": path, "position_encoding": "corrected"})
    outdoor = load_matcher("loftr", {"weights": path})
    row, column, channel = 3, 7, 20  # channel 4 i is the sine of x, counted from 1, times the frequency i
    right, first_release = 10_000 ** (-10 / 128), np.exp(-10)
    for matcher, frequency in ((indoor, right), (told, right), (outdoor, first_release)):
        encoded = matcher.network.network.pos_encoding.pe[0, channel, row, column]
        assert float(encoded) == pytest.approx(np.sin((column + 1) * frequency), rel=1e-4)
    assert indoor.identity == told.identity != outdoor.identity
