import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.photos.reading import decode_photo
from gim.reconstruction.orientation import TURNS, down_direction, to_stored, turn_back, turn_upright
from tests.unit.reconstruction.test_run import _with_orientation

sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))


@given(sizes, st.sampled_from(sorted(TURNS)))
def test_every_pixel_is_found_again_in_the_stored_image(size, orientation):
    width, height = size
    stored = np.arange(width * height).reshape(height, width)
    upright = turn_upright(stored, orientation)
    rows, columns = np.indices(upright.shape).reshape(2, -1)
    places = to_stored(np.column_stack([columns, rows]), orientation, size).astype(int)
    np.testing.assert_array_equal(stored[places[:, 1], places[:, 0]], upright.ravel())
    np.testing.assert_array_equal(turn_back(upright, orientation), stored)


@pytest.mark.parametrize("orientation", sorted(TURNS))
def test_upright_is_what_photographs_are_read_as(orientation):
    from gim import codecs

    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24] = 255
    data = _with_orientation(codecs.encode_jpeg(image), orientation)
    assert np.abs(decode_photo("a", data, 10_000).image.astype(int) - turn_upright(image, orientation)).max() < 30


@given(sizes, st.sampled_from(sorted(TURNS)))
def test_down_is_a_step_downwards_in_the_upright_image(size, orientation):
    step = np.subtract(*to_stored([[0.0, 1.0], [0.0, 0.0]], orientation, size))
    np.testing.assert_array_equal(down_direction(orientation), [*step, 0])
