"""What every matcher promises. Each file of `gim/matchers/` is found by itself; nothing is registered here.

Form is asked of all; a network that has no trained weights among the sample data runs with weights filled by rule
(`tests/matcher_files`). Whether what is found is right is asked of those that are trained, or need no training.

The truth is a smooth random texture known in closed form (a sum of Gaussian blobs, integrated over each pixel), so that
it can be rendered at any offset and scale without resampling a picture; photographs, shrunk by whole factors from
whole offsets; and one real pair with known camera poses.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.special import erf
from threadpoolctl import threadpool_limits

from gim import keys
from gim.errors import ConfigError, ShapeError
from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.pixels import is_inside
from gim.matchers.base import Matcher, SparseMatcher
from gim.matchers.network import DenseMatcher, NetworkMatcher
from gim.matchers.registry import load_matcher, matcher_names, matcher_status
from gim.records import Features, ImagePair
from tests.matcher_files import Accuracy, files_of, is_trained, matcher_module
from tests.sample_data import shared_folder

WIDTH, HEIGHT = 320, 240
SMALL = (160, 120)  # for what needs no more; a network's time goes with the area
SHARED = shared_folder()
EXACT = Accuracy(median_px=0.25, bias_px=0.03)  # of photographs; the rendered texture has tighter bounds below


def parameters(names):
    """The matchers as parameters, those that take a minute to make marked so."""
    slow = {name for name in names if getattr(matcher_module(name), "IS_SLOW", False)}
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]


TRAINED = [name for name in matcher_names() if is_trained(name, with_shared=SHARED.is_dir())]
# Those whose positions are as exact as the texture; networks learned from photographs say what they are worth.
EXACT_ONES = [name for name in TRAINED if not hasattr(matcher_module(name), "ACCURACY")]
ALL = parameters(matcher_names())


@pytest.fixture(scope="module")
def load(tmp_path_factory, lacks_models):
    """Makes the matcher of a name, once; with other settings, another one of the same files."""
    made, settings = {}, {}

    def load(name, **changes) -> Matcher:
        if reason := matcher_status(name):
            lacks_models(f"matcher {name}: {reason}")
        if name not in settings:
            settings[name] = files_of(name, tmp_path_factory.mktemp(name), SHARED if SHARED.is_dir() else None).settings
        if changes:
            return load_matcher(name, settings[name] | changes)
        if name not in made:
            made.clear()  # one at a time: some take a gigabyte
            made[name] = load_matcher(name, settings[name])
        return made[name]

    return load


@pytest.fixture(scope="module", params=ALL)
def matcher(request, load) -> Matcher:
    """Every matcher."""
    return load(request.param)


@pytest.fixture(scope="module", params=parameters(TRAINED))
def trained(request, load) -> Matcher:
    """Every matcher whose matches can be right."""
    return load(request.param)


@pytest.fixture(scope="module", params=parameters(EXACT_ONES))
def exact(request, load) -> Matcher:
    """Every matcher as exact as the texture."""
    return load(request.param)


def _of_class(base):
    """The names of matchers of a class, without importing those that cannot run here."""
    from gim.matchers.registry import matcher_class

    return [name for name in matcher_names() if not matcher_status(name) and issubclass(matcher_class(name), base)]


@pytest.fixture(scope="module", params=parameters(_of_class(SparseMatcher)))
def sparse(request, load) -> SparseMatcher:
    """Every matcher with features of its own."""
    return load(request.param)


@pytest.fixture(scope="module", params=parameters([n for n in _of_class(SparseMatcher) if n in TRAINED]))
def trained_sparse(request, load) -> SparseMatcher:
    """Every matcher with features that can be right."""
    return load(request.param)


@pytest.fixture(scope="module", params=parameters(_of_class(NetworkMatcher)))
def network(request, load) -> NetworkMatcher:
    """Every matcher with weights."""
    return load(request.param)


@pytest.fixture(scope="module", params=parameters(_of_class(DenseMatcher)))
def dense(request, load) -> DenseMatcher:
    """Every matcher that encodes images."""
    return load(request.param)


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


def assert_close(matcher, found, other):
    """The same bytes where the matcher promises them; of a network nearly the same set of rows."""
    if matcher.is_exact:
        assert_same(found, other)
        return
    smaller, larger = sorted((found.points, other.points), key=len)
    assert len(smaller) >= 0.97 * len(larger)
    if len(smaller):
        nearest = np.abs(smaller[:, None] - larger[None]).max(axis=2).min(axis=1)
        assert np.quantile(nearest, 0.95) < 1e-2


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
    assert matcher.teacher.matcher == matcher.name
    assert matcher.teacher.licence == matcher.licence


def test_match_of_textured_images_is_well_formed(matcher):
    image0, image1 = texture(), texture(offset=(6.25, -3.5))
    assert_well_formed(matcher.match(image0, image1), image0, image1)


def test_match_takes_colour(exact):
    image0, image1 = (np.stack([texture(offset=shift)] * 3, axis=2) for shift in ((0, 0), (4, 2)))
    assert len(errors_px(exact.match(image0, image1), 1, (4, 2)))


def test_match_is_the_same_each_time_and_leaves_its_input(matcher):
    image0, image1 = texture(size=SMALL), texture(offset=(3, 1), size=SMALL)
    before = image0.copy(), image1.copy()
    assert_same(matcher.match(image0, image1), matcher.match(image0, image1))
    np.testing.assert_array_equal(image0, before[0])
    np.testing.assert_array_equal(image1, before[1])


def test_match_is_the_same_in_many_threads_and_for_any_number_of_library_threads(matcher):
    pairs = [(texture(size=SMALL), texture(offset=(shift, 1), size=SMALL)) for shift in (0.5, 2)]
    alone = [matcher.match(*pair) for pair in pairs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda pair: matcher.match(*pair), pairs * 2))
    for expected, found in zip(alone * 2, together, strict=True):
        assert_close(matcher, expected, found)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            with threadpool_limits(threads):
                assert_close(matcher, alone[0], matcher.match(*pairs[0]))
    finally:
        cv2.setNumThreads(before)


def test_match_pairs_of_mixed_sizes_is_as_each_pair_alone(matcher):
    texture0, texture1 = texture(size=SMALL), texture(offset=(3, 1), size=SMALL)
    small = texture(size=(101, 77))
    flat = np.full((64, 80), 90, np.uint8)
    colour = np.stack([texture1] * 3, axis=2)
    mask = np.full(texture0.shape, 255, np.uint8)
    mask[:, :50] = 0
    pairs = [
        ImagePair(texture0, texture1),
        ImagePair(small, texture0),
        ImagePair(flat, texture0),
        ImagePair(texture1, texture0, mask, None),
        ImagePair(colour, texture0),
    ]
    found = matcher.match_pairs(pairs)
    assert len(found) == len(pairs)
    for pair, item in zip(pairs, found, strict=True):
        assert_well_formed(item, pair.image0, pair.image1)
        assert_close(matcher, item, matcher.match(pair.image0, pair.image1, pair.mask0, pair.mask1))
    assert len(found[2].points) == 0
    assert matcher.match_pairs([]) == []


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 100), (100, 3), (17, 9), (64, 64)])
@pytest.mark.parametrize("level", [0, 128])
def test_match_of_tiny_or_textureless_images_finds_nothing_and_does_not_fail(matcher, size, level):
    flat = np.full(size, level, np.uint8)
    found = matcher.match(flat, flat)
    assert_well_formed(found, flat, flat)
    assert len(found.points) == 0
    textured = texture(size=SMALL)
    assert_well_formed(matcher.match(flat, textured), flat, textured)
    assert_well_formed(matcher.match(textured, flat), textured, flat)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 23), (33, 31)])
def test_match_of_tiny_noise_is_well_formed(matcher, size):
    noise = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    assert_well_formed(matcher.match(noise, noise), noise, noise)


def test_match_of_a_long_thin_image_is_well_formed(matcher):
    thin = np.ascontiguousarray(np.tile(texture()[:40], (1, 25)))
    assert_well_formed(matcher.match(thin, texture()), thin, texture())


@pytest.mark.parametrize("size", [(121, 97), (80, 119), SMALL])
def test_match_of_odd_and_portrait_sizes_is_well_formed(matcher, size):
    image0, image1 = texture(size=size), texture(offset=(-5, 2.5), size=(93, 117))
    assert_well_formed(matcher.match(image0, image1), image0, image1)


@pytest.mark.parametrize(
    ("size0", "size1"), [((201, 157), (201, 157)), ((160, 239), (160, 239)), ((320, 240), (187, 233))]
)
def test_match_of_odd_portrait_and_unequal_sizes_is_right(exact, size0, size1):
    image0, image1 = texture(size=size0), texture(offset=(-5, 2.5), size=size1)
    found = exact.match(image0, image1)
    assert_well_formed(found, image0, image1)
    assert np.median(np.abs(errors_px(found, 1, (-5, 2.5)))) < 0.1


def test_match_honours_masks(matcher):
    image0, image1 = texture(), texture(offset=(2, 0))
    mask0, mask1 = np.full((HEIGHT, WIDTH), 255, np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask0[:, :140] = 0
    mask1[150:] = 0
    found = matcher.match(image0, image1, mask0, mask1)
    if matcher.name in TRAINED:
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
def test_match_of_a_shift_is_exact_below_a_tenth_of_a_pixel(exact, offset):
    error = errors_px(exact.match(texture(), texture(offset=offset)), 1, offset)
    assert np.median(np.linalg.norm(error, axis=1)) < 0.1
    assert (np.abs(np.median(error, axis=0)) < 0.02).all()


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_match_of_a_resized_image_has_no_half_pixel_error(exact, scale):
    size = (int(WIDTH * scale), int(HEIGHT * scale))
    offset = (scale - 1) / 2  # of pixel centres, with the images' edges in the same place
    error = errors_px(exact.match(texture(), texture(scale, (offset, offset), size)), scale, (offset, offset))
    assert np.median(np.linalg.norm(error, axis=1)) < 0.1 * max(scale, 1)
    assert (np.abs(np.median(error, axis=0)) < 0.03 * max(scale, 1)).all()


def shrunk(photograph, factor, offset):
    """Every pixel the mean of factor x factor pixels, the first of them at offset."""
    rows, columns = ((side - first) // factor for side, first in zip(photograph.shape[:2], offset[::-1], strict=True))
    cut = photograph[offset[1] :, offset[0] :][: rows * factor, : columns * factor].astype(float)
    return np.rint(cut.reshape(rows, factor, columns, factor, 3).mean((1, 3))).astype(np.uint8)


def errors_of_photographs(matcher, folder, view0, view1):
    """Errors in image 1 of all matches of two views (factor, offset) of each of two photographs."""
    errors = []
    for name in ("01.jpg", "02.jpg"):
        photograph = cv2.imread(str(folder / "data/unposed/lund" / name), cv2.IMREAD_COLOR_RGB)
        points = matcher.match(shrunk(photograph, *view0), shrunk(photograph, *view1)).points
        (factor0, offset0), (factor1, offset1) = view0, view1
        source = factor0 * points[:, :2] + (factor0 - 1) / 2 + offset0
        errors.append(points[:, 2:] - (source - (factor1 - 1) / 2 - offset1) / factor1)
    return np.concatenate(errors)


@pytest.mark.shared
@pytest.mark.parametrize(("factor", "offset"), [(2, (1, 1)), (3, (1, 2))])
def test_match_of_a_photograph_shifted_by_a_part_of_a_pixel_is_right(trained, shared_data, factor, offset):
    expected = getattr(matcher_module(trained.name), "ACCURACY", EXACT)
    error = errors_of_photographs(trained, shared_data, (factor, (0, 0)), (factor, offset))
    distance = np.linalg.norm(error, axis=1)
    assert len(error) > 300
    assert (distance < 3).mean() > 0.94
    assert np.median(distance[distance < 3]) < expected.median_px
    assert (np.abs(error[distance < 1.5].mean(axis=0)) < expected.bias_px).all()


@pytest.mark.shared
@pytest.mark.parametrize(("factor0", "factor1"), [(2, 3), (3, 2)])
def test_match_of_a_photograph_at_another_scale_has_no_half_pixel_error(trained, shared_data, factor0, factor1):
    expected = getattr(matcher_module(trained.name), "ACCURACY", EXACT)
    error = errors_of_photographs(trained, shared_data, (factor0, (0, 0)), (factor1, (0, 0)))
    distance = np.linalg.norm(error, axis=1)
    assert len(error) > 150
    assert (distance < 3).mean() > expected.scaled_share
    assert (np.abs(error[distance < 1.5].mean(axis=0)) < max(expected.bias_px * factor0 / factor1, 0.03)).all()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((20, 20), np.float32), None),
        (np.full((20, 20), np.nan, np.float32), None),
        (np.zeros((20, 20), np.uint16), None),
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
def test_match_of_a_real_pair_agrees_with_its_poses(trained, shared_data):
    folder = shared_data / "data/posed/kitti06"
    rows = (line.split() for line in (folder / "pairs.txt").read_text().splitlines())
    row = next(row for row in rows if row[:2] == ["images/000040.png", "images/000043.png"])
    image0, image1 = (cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE) for name in row[:2])
    K0, K1, T_0to1 = np.split(np.array(row[2:36], float), [9, 18])
    F01 = fundamental_from_pose(K0.reshape(3, 3), K1.reshape(3, 3), T_0to1.reshape(4, 4))
    found = trained.match(image0, image1)
    assert_well_formed(found, image0, image1)
    distance = symmetric_epipolar_distance_px(found.points, F01)
    assert (distance < 2).mean() > getattr(matcher_module(trained.name), "ACCURACY", EXACT).epipolar_share
    assert (distance < 1).sum() > 150


@pytest.mark.parametrize("name", ALL)
def test_a_setting_of_the_wrong_name_type_or_range_is_refused(load, name):
    matcher = load(name)
    with pytest.raises(ConfigError, match="no setting 'max_keypoint_s'"):
        load(name, max_keypoint_s=1)
    for item in fields(matcher.config):
        value = getattr(matcher.config, item.name)
        if isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            with pytest.raises(ConfigError, match=item.name):
                load(name, **{item.name: "many"})
            if value > 0 and item.name != "seed":
                with pytest.raises(ConfigError, match=f"{item.name}|{name}"):
                    load(name, **{item.name: -7})


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


def test_extract_gives_every_place_once_or_with_other_descriptors(sparse):
    features = sparse.extract(texture())
    rows = np.hstack([features.keypoints, features.descriptors.astype(np.float32)])
    assert len(np.unique(rows, axis=0)) == len(rows)


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


def test_distance_ranks_the_match_before_others(trained_sparse):
    features0, features1 = trained_sparse.extract(texture()), trained_sparse.extract(texture(offset=(1, 1)))
    matches, _ = trained_sparse.match_features(features0, features1)
    others = np.column_stack([matches[:, 0], np.roll(matches[:, 1], 1)]).astype(np.int32)
    right, wrong = (trained_sparse.distance(features0, features1, pairs) for pairs in (matches, others))
    assert right.shape == (len(matches),)
    assert right.dtype == np.float32
    assert (right >= 0).all()
    assert (right < wrong).mean() > 0.99


def test_identity_depends_on_what_the_weights_are_and_not_on_where(network, tmp_path):
    """The same bytes elsewhere are the same teacher; other bytes are another one, though they compute the same."""
    config, resources = network.config, network.resources
    paths = {name: Path(file.path) for name, file in network.files.items()}
    moved = {name: tmp_path / f"moved{index}{path.suffix}" for index, (name, path) in enumerate(paths.items())}
    for name, path in moved.items():
        path.symlink_to(paths[name])
    same = type(network)(replace(config, **{name: str(path) for name, path in moved.items()}), resources)
    assert keys.config_id("x", *same.identity) == keys.config_id("x", *network.identity)
    hashes = [weights.sha256 for weights in network.teacher.weights]
    assert all(len(item) == 64 for item in hashes)
    assert all(weights.licence for weights in network.teacher.weights)
    assert hashes == [weights.sha256 for weights in same.teacher.weights]
    name = next(iter(moved))
    network_of_other_bytes = tmp_path / f"other{paths[name].suffix}"
    network_of_other_bytes.write_bytes(b"PK\x03\x04 and then other bytes")  # read no further before first use
    other = type(network)(replace(config, **{name: str(network_of_other_bytes)}), resources)
    assert keys.config_id("x", *other.identity) != keys.config_id("x", *network.identity)
    higher = replace(resources, inference=replace(resources.inference, precision="bfloat16"))
    assert keys.config_id("x", *type(network)(config, higher).identity) != keys.config_id("x", *network.identity)


def test_match_encoded_of_maps_made_once_is_match(dense):
    images = [texture(offset=shift, size=SMALL) for shift in ((0, 0), (3, 1), (-4, 2))]
    maps = dense.encode(images, [None] * 3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    found = dense.match_encoded([(maps[first], maps[second]) for first, second in pairs])
    for (first, second), item in zip(pairs, found, strict=True):
        assert_close(dense, item, dense.match(images[first], images[second]))
