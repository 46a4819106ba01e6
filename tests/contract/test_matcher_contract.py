"""What every matcher promises. Each file of `gim/matchers/` is found by itself; nothing is registered here.

The truth is a smooth random texture known in closed form (a sum of Gaussian blobs, integrated over each pixel), so that
it can be rendered at any offset and scale without resampling a picture, and one real pair with known camera poses.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from scipy.special import erf
from threadpoolctl import threadpool_limits

from gim import keys
from gim.errors import ShapeError
from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.pixels import is_inside
from gim.matchers.base import Matcher, SparseMatcher
from gim.matchers.registry import load_matcher, matcher_names, matcher_status
from gim.records import Features

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module", params=matcher_names())
def matcher(request) -> Matcher:
    if reason := matcher_status(request.param):
        pytest.skip(f"{request.param} {reason}")
    return load_matcher(request.param)


@pytest.fixture
def sparse(matcher) -> SparseMatcher:
    if not isinstance(matcher, SparseMatcher):
        pytest.skip(f"{matcher.name} has no features of its own")
    return matcher


@functools.cache
def texture(scale=1.0, offset=(0.0, 0.0), size=(WIDTH, HEIGHT), seed=1):
    """A grey image in which the point (x, y) of the texture lies at scale * (x, y) + offset."""
    rng = np.random.default_rng(seed)
    num = 4000
    centres = rng.uniform((-20, -20), (WIDTH + 20, HEIGHT + 20), (num, 2)) * scale + offset
    sigma, amplitude = rng.uniform(1.5, 5, num) * scale, rng.normal(0, 25, num)

    def profile(length, centre):
        edges = np.arange(length + 1)[None] - 0.5
        integral = erf((edges - centre[:, None]) / (np.sqrt(2) * sigma[:, None]))
        return np.diff(integral, axis=1) * sigma[:, None] / scale

    values = (profile(size[1], centres[:, 1]) * amplitude[:, None]).T @ profile(size[0], centres[:, 0])
    image = np.clip(np.rint(128 + values), 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image


def assert_well_formed(found, image0, image1):
    assert found.points.dtype == np.float32
    assert found.confidence.dtype == np.float32
    assert found.points.shape == (len(found.confidence), 4)
    assert np.isfinite(found.points).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert is_inside(found.points[:, :2], image0.shape[1], image0.shape[0]).all()
    assert is_inside(found.points[:, 2:], image1.shape[1], image1.shape[0]).all()
    if found.matches is not None:
        assert found.matches.dtype == np.int32
        assert found.matches.shape == (len(found.points), 2)


def assert_same(found, other):
    np.testing.assert_array_equal(found.points, other.points)
    np.testing.assert_array_equal(found.confidence, other.confidence)


def errors_px(found, scale, offset):
    """Error of each correspondence in image 1, gross mismatches (over 3 px) left out but counted as wrong."""
    error = found.points[:, 2:] - (scale * found.points[:, :2] + offset)
    is_near = np.linalg.norm(error, axis=1) < 3
    assert is_near.mean() > 0.9
    assert is_near.sum() > 50
    return error[is_near]


def test_identity_says_what_it_is(matcher):
    assert matcher.name in matcher_names()
    assert matcher.licence
    assert keys.config_id(matcher.name, *matcher.identity).startswith(f"{matcher.name}-")


def test_match_of_textured_images_is_well_formed(matcher):
    image0, image1 = texture(), texture(offset=(6.25, -3.5))
    found = matcher.match(image0, image1)
    assert_well_formed(found, image0, image1)
    assert len(found.points) > 50


def test_match_takes_colour(matcher):
    image0, image1 = (np.stack([texture(offset=shift)] * 3, axis=2) for shift in ((0, 0), (4, 2)))
    assert len(errors_px(matcher.match(image0, image1), 1, (4, 2)))


def test_match_is_the_same_each_time_and_leaves_its_input(matcher):
    image0, image1 = texture(), texture(offset=(3, 1))
    before = image0.copy(), image1.copy()
    assert_same(matcher.match(image0, image1), matcher.match(image0, image1))
    np.testing.assert_array_equal(image0, before[0])
    np.testing.assert_array_equal(image1, before[1])


def test_match_is_the_same_in_many_threads_and_for_any_number_of_library_threads(matcher):
    pairs = [(texture(), texture(offset=(shift, 1))) for shift in (0.5, 2)]
    alone = [matcher.match(*pair) for pair in pairs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda pair: matcher.match(*pair), pairs * 2))
    for expected, found in zip(alone * 2, together, strict=True):
        assert_same(expected, found)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            with threadpool_limits(threads):
                assert_same(alone[0], matcher.match(*pairs[0]))
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 100), (100, 3), (17, 9), (64, 64)])
def test_match_of_tiny_or_textureless_images_finds_nothing_and_does_not_fail(matcher, size):
    flat = np.full(size, 128, np.uint8)
    found = matcher.match(flat, flat)
    assert_well_formed(found, flat, flat)
    assert len(found.points) == 0
    textured = texture()
    assert_well_formed(matcher.match(flat, textured), flat, textured)
    assert_well_formed(matcher.match(textured, flat), textured, flat)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 23)])
def test_match_of_tiny_noise_is_well_formed(matcher, size):
    noise = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    assert_well_formed(matcher.match(noise, noise), noise, noise)


@pytest.mark.parametrize(
    ("size0", "size1"), [((201, 157), (201, 157)), ((160, 239), (160, 239)), ((320, 240), (187, 233))]
)
def test_match_of_odd_portrait_and_unequal_sizes_is_right(matcher, size0, size1):
    image0, image1 = texture(size=size0), texture(offset=(-5, 2.5), size=size1)
    found = matcher.match(image0, image1)
    assert_well_formed(found, image0, image1)
    assert np.median(np.abs(errors_px(found, 1, (-5, 2.5)))) < 0.1


def test_match_honours_masks(matcher):
    image0, image1 = texture(), texture(offset=(2, 0))
    mask0, mask1 = np.full((HEIGHT, WIDTH), 255, np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask0[:, :140] = 0
    mask1[150:] = 0
    found = matcher.match(image0, image1, mask0, mask1)
    assert len(found.points) > 20
    x0, _, _, y1 = np.rint(found.points).T
    assert (x0 >= 140).all()
    assert (y1 < 150).all()
    nothing = matcher.match(image0, image1, np.zeros_like(mask0), mask1)
    assert_well_formed(nothing, image0, image1)
    assert len(nothing.points) == 0
    assert_same(
        matcher.match(image0, image1, np.full_like(mask0, 255), np.full_like(mask1, 1)), matcher.match(image0, image1)
    )


@pytest.mark.parametrize("offset", [(0.5, 0.5), (0.3, 0.7), (3.25, -1.6)])
def test_match_of_a_shift_is_exact_below_a_tenth_of_a_pixel(matcher, offset):
    error = errors_px(matcher.match(texture(), texture(offset=offset)), 1, offset)
    assert np.median(np.linalg.norm(error, axis=1)) < 0.1
    assert (np.abs(np.median(error, axis=0)) < 0.02).all()


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_match_of_a_resized_image_has_no_half_pixel_error(matcher, scale):
    size = (int(WIDTH * scale), int(HEIGHT * scale))
    offset = (scale - 1) / 2  # of pixel centres, with the images' edges in the same place
    error = errors_px(matcher.match(texture(), texture(scale, (offset, offset), size)), scale, (offset, offset))
    assert np.median(np.linalg.norm(error, axis=1)) < 0.1 * max(scale, 1)
    assert (np.abs(np.median(error, axis=0)) < 0.03 * max(scale, 1)).all()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((20, 20), np.float32), None),
        (np.zeros((20, 20, 4), np.uint8), None),
        (np.zeros(20, np.uint8), None),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 21), np.uint8)),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 20), bool)),
    ],
)
def test_match_when_image_or_mask_is_wrong_says_so(matcher, image, mask):
    with pytest.raises(ShapeError, match="expected a uint8"):
        matcher.match(image, texture(), mask, None)


@pytest.mark.shared
def test_match_of_a_real_pair_agrees_with_its_poses(matcher, shared_data):
    folder = shared_data / "data/posed/kitti06"
    rows = (line.split() for line in (folder / "pairs.txt").read_text().splitlines())
    row = next(row for row in rows if row[:2] == ["images/000040.png", "images/000043.png"])
    image0, image1 = (cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE) for name in row[:2])
    K0, K1, T_0to1 = np.split(np.array(row[2:36], float), [9, 18])
    F01 = fundamental_from_pose(K0.reshape(3, 3), K1.reshape(3, 3), T_0to1.reshape(4, 4))
    found = matcher.match(image0, image1)
    assert_well_formed(found, image0, image1)
    distance = symmetric_epipolar_distance_px(found.points, F01)
    assert (distance < 2).mean() > 0.85
    assert (distance < 1).sum() > 300


def test_match_equals_its_sparse_steps(sparse):
    image0, image1 = texture(), texture(offset=(2, 1))
    features0, features1 = sparse.extract(image0), sparse.extract(image1)
    matches, confidence = sparse.match_features(features0, features1)
    found = sparse.match(image0, image1)
    np.testing.assert_array_equal(found.matches, matches)
    np.testing.assert_array_equal(found.confidence, confidence)
    np.testing.assert_array_equal(found.points[:, :2], features0.keypoints[matches[:, 0]])
    np.testing.assert_array_equal(found.points[:, 2:], features1.keypoints[matches[:, 1]])


def test_extract_is_well_formed_and_inside_the_mask(sparse):
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[60:, 90:] = 0
    features = sparse.extract(texture(), mask)
    assert features.keypoints.dtype == np.float32
    assert features.keypoints.shape == (len(features.descriptors), 2)
    columns, rows = np.rint(features.keypoints).astype(int).T
    assert len(features.keypoints) > 20
    assert (mask[rows, columns] > 0).all()
    assert keys.validate_key(sparse.extractor_id) == sparse.extractor_id


def test_match_features_is_one_to_one_by_index_and_by_place_and_ascends(sparse):
    features0, features1 = sparse.extract(texture()), sparse.extract(texture(offset=(1.5, 0)))
    matches, _ = sparse.match_features(features0, features1)
    assert (np.diff(matches[:, 0]) > 0).all()
    assert len(np.unique(matches[:, 1])) == len(matches)
    for keypoints, indices in ((features0.keypoints, matches[:, 0]), (features1.keypoints, matches[:, 1])):
        assert len(np.unique(keypoints[indices], axis=0)) == len(matches)


def test_match_features_of_none_is_none(sparse):
    some = sparse.extract(texture())
    none = Features(some.keypoints[:0], some.descriptors[:0])
    for pair in ((some, none), (none, some), (none, none)):
        matches, confidence = sparse.match_features(*pair)
        assert matches.shape == (0, 2)
        assert confidence.shape == (0,)
        assert sparse.distance(*pair, np.empty((0, 2), np.int32)).shape == (0,)


def test_distance_ranks_the_match_before_others(sparse):
    features0, features1 = sparse.extract(texture()), sparse.extract(texture(offset=(1, 1)))
    matches, _ = sparse.match_features(features0, features1)
    others = np.column_stack([matches[:, 0], np.roll(matches[:, 1], 1)]).astype(np.int32)
    right, wrong = sparse.distance(features0, features1, matches), sparse.distance(features0, features1, others)
    assert right.shape == (len(matches),)
    assert right.dtype == np.float32
    assert (right >= 0).all()
    assert (right < wrong).mean() > 0.99
