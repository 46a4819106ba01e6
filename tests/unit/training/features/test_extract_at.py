"""What extractors say of given places: at their own keypoints the very features that detection gives."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from gim.inference.config import InferenceConfig  # noqa: E402 - needs torch
from gim.matchers.nn.aliked import AlikedExtractor, load_aliked  # noqa: E402
from gim.matchers.nn.superpoint import SuperPointExtractor, load_superpoint  # noqa: E402
from gim.matchers.nn.xfeat import XFeatExtractor, load_xfeat  # noqa: E402
from gim.weights.checkpoint import read_checkpoint  # noqa: E402
from tests.golden_weights import filled_like  # noqa: E402

CPU = torch.device("cpu")
MOST = 100
NAMES = ["xfeat", "aliked", "superpoint"]


def xfeat(weights):
    network = load_xfeat(
        read_checkpoint(weights / "xfeat_folded.pt"), source="xfeat", device=CPU, detection_threshold=0.05
    )
    return lambda side: XFeatExtractor(network, max_keypoints=MOST, max_side_px=side)


def aliked(weights):
    state = read_checkpoint(weights / "aliked-n16.pth")
    network = load_aliked(state, source="aliked", device=CPU, max_keypoints=MOST, detection_threshold=0.0)
    return lambda side: AlikedExtractor(network, max_keypoints=MOST, max_side_px=side)


def superpoint(_):
    from gim.matchers.nn.superpoint import SuperPoint

    network = load_superpoint(filled_like(SuperPoint().eval(), gain=1.4), source="filled", device=CPU)
    settings = {"max_keypoints": MOST, "nms_radius_px": 3, "detection_threshold": 0.0}
    return lambda side: SuperPointExtractor(network, InferenceConfig(), max_side_px=side, **settings)


@pytest.fixture(scope="module")
def makers(shared_data):
    """By name, what makes an extractor for images with a side of at most so many pixels."""
    weights = shared_data / "weights/permissive"
    return {"xfeat": xfeat(weights), "aliked": aliked(weights), "superpoint": superpoint(weights)}


@pytest.fixture(scope="module")
def images(shared_data):
    names = ("pair_a_224x160.png", "pair_b_224x160.png")
    read = [cv2.imread(str(shared_data / "golden/images" / name), cv2.IMREAD_COLOR_RGB) for name in names]
    assert all(image is not None for image in read)
    return [np.ascontiguousarray(image[:96, :128]) for image in read]


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [0, 96])  # the second has the network see a smaller image
def test_extract_at_detected_keypoints_gives_what_detection_gave(makers, images, name, side):
    extractor = makers[name](side)
    with torch.inference_mode():
        found = extractor.extract([(image, None) for image in images])
        again = extractor.extract_at([(image, None) for image in images], [item.keypoints for item in found])
    for detected, described in zip(found, again, strict=True):
        assert len(detected.keypoints) > 20
        np.testing.assert_array_equal(described.keypoints, detected.keypoints)
        # A network's arithmetic is the same; its positions went to the given pixels and back.
        np.testing.assert_allclose(described.descriptors, detected.descriptors, atol=2e-4)
        np.testing.assert_allclose(described.scores, detected.scores, atol=1e-4)
        assert described.image_size == detected.image_size == (128, 96)


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES)
def test_extract_with_puts_given_places_first_and_fills_up_with_the_strongest_far_from_them(makers, images, name):
    extractor = makers[name](0)
    mask = np.full(images[0].shape[:2], 255, np.uint8)
    mask[:, 70:] = 0
    items = [(images[0], mask), (images[1], None)]
    rng = np.random.default_rng(1)
    with torch.inference_mode():
        detected = extractor.extract(items)
        # Some beside detected ones, some in the mask, at fractions of pixels.
        given = [item.keypoints[::4] + np.float32([0.75, -0.5]) for item in detected]
        given[0] = np.vstack([given[0], rng.uniform(75, 90, (5, 2))]).astype(np.float32)
        found = extractor.extract_with(items, given, min_distance_px=3)
        alone = extractor.extract_at(items, given)
    for ours, places, described, (_, own_mask) in zip(found, given, alone, items, strict=True):
        num = len(places)
        np.testing.assert_array_equal(ours.keypoints[:num], places)
        np.testing.assert_allclose(ours.descriptors[:num], described.descriptors, atol=2e-5)
        np.testing.assert_allclose(ours.scores[:num], described.scores, atol=1e-6)
        rest = ours.keypoints[num:]
        assert 10 < len(rest) <= MOST - num
        assert np.linalg.norm(rest[:, None] - places[None], axis=2).min() > 3
        assert np.all(np.diff(ours.scores[num:]) <= 0)
        columns, rows = np.rint(rest).astype(int).T
        assert own_mask is None or own_mask[rows, columns].all()
    # What detection found first, and is far, is there in its order.
    gaps = np.linalg.norm(detected[1].keypoints[:, None] - given[1][None], axis=2).min(axis=1)
    far = detected[1].keypoints[gaps > 3]
    np.testing.assert_array_equal(found[1].keypoints[len(given[1]) :][: len(far)], far[: MOST - len(given[1])])


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES)
def test_extract_with_no_places_is_extract_and_places_at_the_edge_are_described(makers, images, name):
    extractor, item = makers[name](0), (images[0], None)
    none, corners = np.empty((0, 2), np.float32), np.float32([[-0.5, -0.5], [127.49, 95.49], [127, 0], [0, 95.2]])
    with torch.inference_mode():
        (plain,) = extractor.extract([item])
        without, cornered = extractor.extract_with([item, item], [none, corners], min_distance_px=3)
    np.testing.assert_allclose(without.keypoints, plain.keypoints, atol=1e-4)  # another batch, other sums
    np.testing.assert_allclose(without.descriptors, plain.descriptors, atol=2e-5)
    np.testing.assert_array_equal(cornered.keypoints[:4], corners)
    np.testing.assert_allclose(np.linalg.norm(cornered.descriptors, axis=1), 1, atol=1e-4)
    assert np.isfinite(cornered.scores).all()


@pytest.mark.shared
def test_xfeat_sees_every_image_once(makers, images):
    extractor, passes = makers["xfeat"](0), []
    hook = extractor._network.net.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        extractor.extract_with([(images[0], None)], [np.float32([[20, 20]])], min_distance_px=3)
    hook.remove()
    assert len(passes) == 1
    assert len(extractor._network.net._forward_hooks) == 0
