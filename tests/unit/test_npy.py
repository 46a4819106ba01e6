"""`gim.npy` reads what numpy writes, refuses the rest, and lets one thread at a time into Python's parser."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gim import npy


def saved(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@given(
    arrays.arrays(
        st.sampled_from(["<f4", ">f8", "<i8", "|u1", "|b1", "<U3", "<c8"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_arrays_come_back_as_numpy_reads_them(values: np.ndarray, is_fortran: bool) -> None:
    data = saved(np.asfortranarray(values) if is_fortran else values)
    found, expected = npy.array_of(data), np.load(io.BytesIO(data))
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()
    assert found.flags.writeable


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    data = saved(np.arange(5.0))
    for end in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            npy.array_of(data[:end])


def test_objects_are_refused_and_not_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="unpickled"):
        npy.array_of(buffer.getvalue())


@pytest.mark.parametrize("shape", [(-1,), (2**40, 2**40)])
def test_a_shape_that_no_array_has_is_refused(shape: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with pytest.raises(ValueError, match="shape"):
        npy.array_of(buffer.getvalue() + bytes(8))


def test_threads_that_read_at_once_parse_one_header_at_a_time(parsing: list[int]) -> None:
    data = saved(np.arange(3))
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(npy.array_of, [data] * 16))
    assert all(item.tolist() == [0, 1, 2] for item in found)
    assert parsing == [1] * 16
