import numpy as np
import pytest

from gim import codecs
from gim.errors import CorruptObject, ShapeError
from gim.geometry.robust import FundamentalFit, HomographyFit
from gim.matchers.registry import load_matcher
from gim.records import Correspondences
from gim.rpc.messages import image_message, info_of, match_response, remote_match
from gim.wire.v1.matcher_pb2 import MatchResponse, Timings

RNG = np.random.default_rng(1)
FOUND = Correspondences(RNG.random((7, 4), np.float32) * 640, RNG.random(7, np.float32))


def answer(found=FOUND, fit=None, max_correspondences=0):
    return match_response(
        found,
        fit,
        max_correspondences=max_correspondences,
        sizes=((640, 480), (320, 240)),
        matcher=info_of(load_matcher("rootsift")),
        timings=Timings(queued_seconds=0.5, decoded_seconds=0.25, computed_seconds=0.125, batch_size=3),
    )


def there_and_back(response):
    return remote_match(MatchResponse.FromString(response.SerializeToString()))


def test_correspondences_arrive_bit_by_bit():
    arrived = there_and_back(answer())
    np.testing.assert_array_equal(arrived.found.points, FOUND.points)
    np.testing.assert_array_equal(arrived.found.confidence, FOUND.confidence)
    assert arrived.found.points.dtype == arrived.found.confidence.dtype == np.float32
    assert (arrived.size0, arrived.size1) == ((640, 480), (320, 240))
    assert (arrived.queued_seconds, arrived.decoded_seconds, arrived.computed_seconds, arrived.batch_size) == (
        0.5,
        0.25,
        0.125,
        3,
    )
    assert arrived.matcher.teacher == load_matcher("rootsift").teacher
    assert arrived.inliers is arrived.F01 is arrived.H01 is None


def test_nothing_found_arrives_as_nothing():
    arrived = there_and_back(answer(Correspondences.none()))
    assert arrived.found.points.shape == (0, 4)
    assert arrived.found.confidence.shape == (0,)


def test_the_most_confident_are_kept_in_their_order_with_their_inliers():
    found = Correspondences(FOUND.points, np.array([0.1, 0.9, 0.5, 0.9, 0.2, 0.5, 0.3], np.float32))
    inliers = np.array([1, 0, 1, 1, 0, 1, 0], bool)
    arrived = there_and_back(answer(found, FundamentalFit(np.eye(3), inliers), max_correspondences=3))
    np.testing.assert_array_equal(arrived.found.points, FOUND.points[[1, 2, 3]])
    np.testing.assert_array_equal(arrived.inliers, [False, True, True])
    np.testing.assert_array_equal(arrived.F01, np.eye(3))


def test_a_homography_arrives_as_one():
    arrived = there_and_back(answer(fit=HomographyFit(np.diag([1.0, 2, 1]), np.ones(7, bool))))
    np.testing.assert_array_equal(arrived.H01, np.diag([1.0, 2, 1]))
    assert arrived.F01 is None


@pytest.mark.parametrize("field", ["correspondences", "confidence"])
def test_arrays_of_another_length_than_stated_are_refused(field):
    response = answer()
    setattr(response, field, getattr(response, field)[:-1])
    with pytest.raises(CorruptObject, match=field):
        remote_match(response)


def test_pixels_travel_without_loss_and_wrong_ones_not_at_all():
    image = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    mask = RNG.integers(0, 2, (9, 13), dtype=np.uint8)
    message = image_message(image, mask)
    np.testing.assert_array_equal(codecs.decode_image(message.encoded), image)
    np.testing.assert_array_equal(codecs.decode_grey(message.mask), mask)
    with pytest.raises(ShapeError, match="expected a uint8"):
        image_message(image.astype(np.float32))
    with pytest.raises(ShapeError, match="expected a uint8"):
        image_message(image, mask[:-1])
