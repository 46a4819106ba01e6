"""Reads arrays as `numpy.save` writes them, from many threads at once.

`numpy.load` is not for that: an array's header is a Python literal, and Python's parser is for one thread at a time.
"""

import io
import math
import sys
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gim.python_parser import PARSER_LOCK

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What a file says of its array before its values."""

    shape: tuple[int, ...]
    is_fortran: bool  # whether the first index runs fastest
    dtype: np.dtype[Any]


def read_header(file: IO[bytes]) -> ArrayHeader:
    """The header of a `.npy` file; its values are what comes next.

    Raises:
        ValueError: it is none.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version}")
    with PARSER_LOCK:
        return ArrayHeader(*_HEADERS[version](file))


def read_values(file: IO[bytes], header: ArrayHeader) -> npt.NDArray[Any]:
    """The values that follow a header, as an array that may be written to.

    Raises:
        ValueError: objects, which only a pickle could make, or fewer values than the header says.
    """
    if header.dtype.hasobject:
        raise ValueError("an array of objects, which would have to be unpickled")
    count = math.prod(header.shape)
    size = count * header.dtype.itemsize
    if min(header.shape, default=0) < 0 or size > sys.maxsize:
        raise ValueError(f"an array of shape {header.shape}")
    data = bytearray(file.read(size))
    if len(data) < size:
        raise ValueError(f"cut off: {len(data)} bytes of {size}")
    values = np.frombuffer(data, header.dtype, count) if size else np.empty(count, header.dtype)
    return values.reshape(header.shape[::-1]).T if header.is_fortran else values.reshape(header.shape)


def read_array(file: IO[bytes]) -> npt.NDArray[Any]:
    """The array of an open `.npy` file, or of a member of an `.npz`.

    Raises:
        ValueError: it is none, is cut off, or holds objects.
    """
    return read_values(file, read_header(file))


def array_of(data: bytes) -> npt.NDArray[Any]:
    """`read_array` of a whole file's bytes."""
    return read_array(io.BytesIO(data))
