"""Reads `.npz` files of others: arrays, and lists of objects without running what a pickle may call.

numpy reads objects by unpickling, which lets a file run anything. Here a pickle may only rebuild arrays and numbers.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gim import npy
from gim.errors import InvalidInput, UnsafeInput

_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_NAMES = ("_reconstruct", "_frombuffer", "dtype", "ndarray", "scalar")
_OTHERS = (("_codecs", "encode"),)  # how old pickles write bytes


def read_arrays(path: Path, names: tuple[str, ...], what: str) -> Mapping[str, npt.NDArray[Any]]:
    """Arrays of a `.npz` file by name.

    Args:
        path: of the file.
        names: those that are wanted.
        what: the file should be, for messages.

    Raises:
        InvalidInput: unreadable, cut off, or without one of the arrays.
        UnsafeInput: a pickle in it would run something.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            for name in names:
                if name not in there:
                    raise InvalidInput(f"{path}: has no array {name!r}, so it is no {what}; it has {_listed(there)}")
            found = {}
            for name in names:
                with archive.open(f"{name}.npy") as file:
                    found[name] = _read_array(file)
            return found
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{path}: not a readable .npz file ({error})") from error
    except pickle.UnpicklingError as error:
        raise UnsafeInput(f"{path}: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds arrays and numbers, and refuses to look anything else up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module in _MODULES and name in _NAMES) or (module, name) in _OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a pickle in it calls {module}.{name}, which no array needs")


def _read_array(file: IO[bytes]) -> npt.NDArray[Any]:
    header = npy.read_header(file)
    if header.dtype.hasobject:
        return np.asarray(_ArraysOnly(file, encoding="latin1").load()).reshape(header.shape)
    return npy.read_values(file, header)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
