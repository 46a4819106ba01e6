"""Arrays of `.npz` files of others: read as numpy reads them, and nothing in them is run."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.array_files import read_arrays
from gim.errors import InvalidInput, UnsafeInput


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    objects = np.empty(3, object)
    objects[:] = [((1, np.int64(2)), 0.5, np.eye(2)), None, "image.jpg"]
    arrays = {
        "plain": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.array(7),
        "objects": objects,
        "table": np.array([[None, "a"], [np.eye(3), 1.5]], object),
    }
    np.savez(path, **arrays, allow_pickle=True)
    found = read_arrays(path, tuple(arrays), "anything")
    for name in ("plain", "fortran", "scalar"):
        np.testing.assert_array_equal(found[name], arrays[name])
        assert found[name].dtype == arrays[name].dtype
    assert found["objects"][0][:2] == objects[0][:2]
    np.testing.assert_array_equal(found["objects"][0][2], np.eye(2))
    assert list(found["objects"][1:]) == [None, "image.jpg"]
    assert found["table"].shape == (2, 2)
    assert found["table"][0, 1] == "a"


def test_objects_that_an_older_numpy_wrote_are_read(tmp_path: Path) -> None:
    objects = np.empty(2, object)
    objects[:] = [np.eye(2), "image.jpg"]
    pickled = pickle.dumps(objects, protocol=2).replace(b"numpy._core", b"numpy.core")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as archive:
        archive.writestr("poses.npy", header.getvalue() + pickled)
    found = read_arrays(tmp_path / "old.npz", ("poses",), "scene")["poses"]
    np.testing.assert_array_equal(found[0], np.eye(2))
    assert found[1] == "image.jpg"


class _Runs:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


def test_a_pickle_that_runs_something_is_refused_before_it_does(tmp_path: Path) -> None:
    trap = np.empty(1, object)
    trap[0] = _Runs(tmp_path / "made")
    np.savez(tmp_path / "trap.npz", poses=trap, allow_pickle=True)
    with pytest.raises(UnsafeInput, match=r"trap.npz: a pickle in it calls \w+.mkdir"):
        read_arrays(tmp_path / "trap.npz", ("poses",), "scene")
    assert not (tmp_path / "made").exists()


def test_what_cannot_be_read_is_one_line_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, poses=np.eye(4))
    with pytest.raises(InvalidInput, match=r"some.npz: has no array 'intrinsics', so it is no scene; it has poses"):
        read_arrays(path, ("intrinsics",), "scene")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidInput, match=r"some.npz: not a readable .npz file"):
        read_arrays(path, ("poses",), "scene")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_arrays(tmp_path / "none.npz", ("poses",), "scene")
    buffer = io.BytesIO()
    np.save(buffer, np.eye(4))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("poses.npy", buffer.getvalue()[:-8])
    with pytest.raises(InvalidInput, match=r"some.npz: not a readable .npz file"):
        read_arrays(path, ("poses",), "scene")
