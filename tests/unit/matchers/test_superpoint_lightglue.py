"""LightGlue on planted matches; files, settings and the whole matcher of SuperPoint and LightGlue."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gim.errors import ConfigError, InvalidInput, ShapeError
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.records import Features, ImagePair
from tests.matcher_files import files_of
from tests.matcher_files.superpoint_lightglue import SETTINGS, lightglue_state, superpoint_state

torch = pytest.importorskip("torch")

from gim.inference.device import running  # noqa: E402 - needs torch
from gim.matchers.nn.lightglue import early_exit_keys, layer_sizes, load_lightglue, normalised_positions  # noqa: E402

CPU = torch.device("cpu")
SIZE = (640, 480)


@pytest.fixture(scope="module")
def state():
    return lightglue_state()


@pytest.fixture(scope="module")
def lightglue(state):
    return loaded(state)


def loaded(state, **settings):
    defaults = {"source": "filled", "device": CPU, "inference": InferenceConfig(), "filter_threshold": 0.1}
    return load_lightglue(state, **(defaults | settings))


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    return load_matcher(
        "superpoint_lightglue", files_of("superpoint_lightglue", tmp_path_factory.mktemp("w"), None).settings
    )


@pytest.fixture(scope="module")
def noise():
    image = cv2.GaussianBlur(np.random.default_rng(3).random((256, 320), np.float32), None, 1.5)
    return cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def planted(seed, num0=60, num1=50, num_common=40):
    """Features whose keypoints `common[k]` of image 0 and k of image 1 are the same, a little changed."""
    rng = np.random.default_rng(seed)

    def features(keypoints, descriptors):
        unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
        return Features(keypoints.astype(np.float32), unit.astype(np.float32), None, SIZE)

    keypoints, descriptors = rng.uniform(0, (600, 440), (num0, 2)), rng.normal(size=(num0, 256))
    common = rng.permutation(num0)[:num_common]
    moved = np.vstack([keypoints[common] * 0.9 + 5, rng.uniform(0, (600, 440), (num1 - num_common, 2))])
    changed = descriptors[common] + 0.2 * rng.normal(size=(num_common, 256))
    changed = np.vstack([changed, rng.normal(size=(num1 - num_common, 256))])
    return features(keypoints, descriptors), features(moved, changed), common


def match(lightglue, *pairs, precision="float32"):
    with running(InferenceConfig(precision=precision), CPU):
        return lightglue.match(pairs)


# --- LightGlue --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_planted_matches_are_found_and_no_others(lightglue, precision):
    features0, features1, common = planted(0)
    ((matches, confidence),) = match(lightglue, (features0, features1), precision=precision)
    assert (matches[:, 0] == common[matches[:, 1].clip(max=len(common) - 1)]).all()
    assert len(matches) >= 38
    assert ((confidence > 0.1) & (confidence <= 1)).all()


def test_order_of_keypoints_changes_no_match(lightglue):
    features0, features1, _ = planted(1)
    rng = np.random.default_rng(5)
    orders = rng.permutation(60), rng.permutation(50)
    mixed = tuple(
        replace(features, keypoints=features.keypoints[order], descriptors=features.descriptors[order])
        for features, order in zip((features0, features1), orders, strict=True)
    )
    ((expected, confidence),) = match(lightglue, (features0, features1))
    ((found, other_confidence),) = match(lightglue, mixed)
    assert (np.diff(found[:, 0]) > 0).all()
    back = np.column_stack([orders[0][found[:, 0]], orders[1][found[:, 1]]])
    order = np.argsort(back[:, 0])
    np.testing.assert_array_equal(back[order], expected)
    np.testing.assert_allclose(other_confidence[order], confidence, atol=1e-5)


def test_images_changed_about_give_the_same_matches(lightglue):
    features0, features1, _ = planted(2)
    ((expected, confidence),) = match(lightglue, (features0, features1))
    ((found, other_confidence),) = match(lightglue, (features1, features0))
    order = np.argsort(found[:, 1])
    np.testing.assert_array_equal(found[order][:, ::-1], expected)
    np.testing.assert_allclose(other_confidence[order], confidence, atol=1e-5)


def test_only_differences_of_positions_count(lightglue):
    features0, features1, _ = planted(3)
    moved = replace(features1, keypoints=features1.keypoints + np.array([30, 20], np.float32))
    ((expected, confidence),) = match(lightglue, (features0, features1))
    ((found, other_confidence),) = match(lightglue, (features0, moved))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(other_confidence, confidence, atol=1e-4)


def test_batch_gives_what_each_pair_gives(lightglue):
    pairs = [planted(seed)[:2] for seed in range(3)]
    for (matches, confidence), pair in zip(match(lightglue, *pairs), pairs, strict=True):
        ((alone, alone_confidence),) = match(lightglue, pair)
        np.testing.assert_array_equal(matches, alone)
        np.testing.assert_allclose(confidence, alone_confidence, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_assignment_of_a_batch_with_unequal_numbers_of_keypoints_is_that_of_each_pair(lightglue, precision, tolerance):
    sizes = ((60, 50), (43, 70), (1, 9))
    pairs = [planted(seed, *counts, num_common=min(*counts, 40))[:2] for seed, counts in enumerate(sizes)]
    with running(InferenceConfig(precision=precision), CPU):
        together = lightglue.log_assignment(pairs).exp()
        for found, pair in zip(together, pairs, strict=True):
            (alone,) = lightglue.log_assignment([pair]).exp()
            num0, num1 = (len(item.keypoints) for item in pair)
            real = found[[*range(num0), -1]][:, [*range(num1), -1]]
            assert (real - alone).abs().max() < tolerance
            assert found[num0:-1].count_nonzero() == found[:, num1:-1].count_nonzero() == 0


def test_positions_are_in_units_of_half_the_longer_side_about_the_centre():
    corners = np.array([[-0.5, -0.5], [639.5, 479.5], [319.5, 239.5]], np.float32)
    found = normalised_positions(Features(corners, np.empty((3, 256)), None, SIZE))
    np.testing.assert_allclose(found, [[-1, -0.75], [1, 0.75], [0, 0]], atol=1e-6)
    with pytest.raises(ShapeError, match="say the size of their image"):
        normalised_positions(Features(corners, np.empty((3, 256))))


def test_making_a_network_changes_nothing_for_the_process(state):
    before = torch.backends.cuda.flash_sdp_enabled()
    loaded(state)
    assert torch.backends.cuda.flash_sdp_enabled() == before


def test_layer_names_of_the_first_release_are_understood(state, lightglue):
    def old(key):
        first, number, block, *rest = [*key.split("."), "", ""]
        return ".".join([block, number, *rest]).rstrip(".") if first == "transformers" else key

    ours = loaded({old(key): tensor for key, tensor in state.items()})
    assert "cross_attn.8.to_qk.weight" in {old(key) for key in state}
    pair = planted(4)[:2]
    np.testing.assert_array_equal(match(ours, pair)[0][1], match(lightglue, pair)[0][1])


def test_layers_width_and_heads_are_told_from_the_file():
    for sizes in ({"descriptor_dim": 96, "n_layers": 3, "num_heads": 1}, {"descriptor_dim": 64, "num_heads": 2}):
        state = lightglue_state(input_dim=64, **sizes)
        assert layer_sizes(state) == {"n_layers": 9} | sizes
        assert loaded(state, input_dim=64).network.conf.num_heads == sizes["num_heads"]
    assert layer_sizes({"conv1a.weight": torch.zeros(1)}) == {"n_layers": 1, "descriptor_dim": 256, "num_heads": 4}
    with pytest.raises(InvalidInput, match="input_proj"):
        loaded(state)  # of other descriptors


def test_smaller_networks_may_lack_what_only_early_stopping_needs():
    small = lightglue_state(input_dim=64, descriptor_dim=96, n_layers=3, num_heads=1)
    unused = early_exit_keys(3)
    assert set(unused) < set(small)
    kept = {key: tensor for key, tensor in small.items() if key not in unused}
    ours = loaded(kept, may_miss=unused, input_dim=64)
    rng = np.random.default_rng(0)
    features = Features(
        rng.uniform(0, 400, (30, 2)).astype(np.float32), rng.normal(size=(30, 64)).astype(np.float32), None, SIZE
    )
    ((matches, _),) = match(ours, (features, features))
    np.testing.assert_array_equal(matches[:, 0], matches[:, 1])
    with pytest.raises(InvalidInput, match=r"log_assignment\.0"):
        loaded(kept, input_dim=64)


# --- the matcher ------------------------------------------------------------------------------------------------------


def test_image_moved_by_whole_cells_is_matched_exactly(matcher, noise):
    image0, image1 = noise[:-16, :-8], noise[16:, 8:]
    found = matcher.match(image0, image1)
    is_exact = (found.points[:, 2:] == found.points[:, :2] - (8, 16)).all(axis=1)
    assert is_exact.mean() > 0.8
    # The untrained network sees the zeros around the image from afar; where it does not, nothing is wrong.
    is_inner = ((found.points[:, :2] > 64) & (found.points[:, :2] < (248, 176))).all(axis=1)
    assert is_inner.sum() > 20
    assert is_exact[is_inner].all()


def test_pairs_of_many_sizes_give_what_each_gives(matcher, noise):
    pairs = [
        ImagePair(noise, noise[:, ::-1].copy()),
        ImagePair(noise[:201, :157], noise),
        ImagePair(noise[:, 24:], noise),
        ImagePair(noise[:8, :8], noise),
    ]
    for found, pair in zip(matcher.match_pairs(pairs), pairs, strict=True):
        alone = matcher.match(pair.image0, pair.image1)
        np.testing.assert_array_equal(found.points, alone.points)
        np.testing.assert_allclose(found.confidence, alone.confidence, atol=1e-5)


def test_distance_is_that_of_the_descriptors(matcher, noise):
    features = matcher.extract(noise)
    candidates = np.random.default_rng(0).integers(0, len(features.keypoints), (500, 2)).astype(np.int32)
    found = matcher.distance(features, features, candidates)
    expected = np.linalg.norm(features.descriptors[candidates[:, 0]] - features.descriptors[candidates[:, 1]], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_features_are_kept_when_only_the_matching_changes(tmp_path):
    settings = files_of("superpoint_lightglue", tmp_path, None).settings
    ids = {
        name: load_matcher("superpoint_lightglue", settings | change).extractor_id
        for name, change in {
            "same": {},
            "filter": {"filter_threshold": 0.3},
            "nms": {"nms_radius_px": 4},
            "number": {"max_keypoints": 50},
        }.items()
    }
    assert ids["same"] == ids["filter"]
    assert len(set(ids.values())) == 3
    half = ModelResources(InferenceConfig(precision="bfloat16"))
    assert load_matcher("superpoint_lightglue", settings, half).extractor_id != ids["same"]


def test_the_two_published_files_work_like_the_one_of_gim(matcher, state, noise, tmp_path):
    torch.save(state, tmp_path / "superpoint_lightglue.pth")
    torch.save(superpoint_state(), tmp_path / "superpoint_v1.pth")
    paths = {
        "weights": str(tmp_path / "superpoint_lightglue.pth"),
        "superpoint_weights": str(tmp_path / "superpoint_v1.pth"),
    }
    ours = load_matcher("superpoint_lightglue", SETTINGS | paths)
    assert len(ours.teacher.weights) == 2
    found, expected = ours.match(noise, noise[:, 8:]), matcher.match(noise, noise[:, 8:])
    np.testing.assert_array_equal(found.points, expected.points)


def test_file_without_superpoint_says_which_setting_helps(state, noise, tmp_path):
    torch.save(state, tmp_path / "superpoint_lightglue.pth")
    ours = load_matcher("superpoint_lightglue", {"weights": str(tmp_path / "superpoint_lightglue.pth")})
    with pytest.raises(ConfigError, match=r"superpoint_lightglue\.pth hold no SuperPoint: set superpoint_weights"):
        ours.match(noise, noise)


def test_file_of_another_network_is_refused(noise, tmp_path):
    torch.save({"superpoint.conv9.weight": torch.zeros(1), "model.x": torch.zeros(1)}, tmp_path / "other.pth")
    ours = load_matcher("superpoint_lightglue", {"weights": str(tmp_path / "other.pth")})
    with pytest.raises(InvalidInput, match=r"other\.pth"):
        ours.match(noise, noise)


@pytest.mark.parametrize("name", ["superpoint_lightglue", "superpoint_superglue"])
@pytest.mark.parametrize(
    "wrong", [{"max_keypoints": 0}, {"nms_radius_px": -1}, {"max_side_px": -1}, {"detection_threshold": -0.1}]
)
def test_settings_that_make_no_sense_are_refused(name, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        load_matcher(name, wrong)
