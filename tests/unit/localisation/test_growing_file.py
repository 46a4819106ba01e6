"""A file that grows: what is in it after any interruption."""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gim.errors import InvalidInput
from gim.localisation import growing_file
from gim.localisation.growing_file import GrowingFile, new_file
from tests.small_disk import run_on_small_disk


def _groups(*numbers: int) -> dict[str, dict[str, Any]]:
    return {f"db/{number}": {"x": np.array([number])} for number in numbers}


def _read(path: Path) -> dict[str, int]:
    with h5py.File(path) as file:
        return {f"db/{name}": int(group["x"][0]) for name, group in file["db"].items()}


def test_parts_become_one_file_and_later_ones_join_it(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "f.h5")
    file.write(_groups(1, 2))
    file.write(_groups(3))
    assert "db/3" in file
    assert "db/4" not in file
    assert _read(file.merge()) == {"db/1": 1, "db/2": 2, "db/3": 3}
    again = GrowingFile(tmp_path / "f.h5")
    assert "db/2" in again
    again.write(_groups(4))
    assert _read(again.merge()) == {"db/1": 1, "db/2": 2, "db/3": 3, "db/4": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_a_file_of_nothing_is_a_file(tmp_path: Path) -> None:
    path = GrowingFile(tmp_path / "new" / "f.h5").merge()
    with h5py.File(path) as file:
        assert list(file) == []


def test_what_was_being_written_is_as_if_it_had_not_been_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = GrowingFile(tmp_path / "f.h5")
    file.write(_groups(1))
    write = growing_file.write_group
    done: list[str] = []

    def write_one(target: Any, name: str, datasets: Any) -> None:
        if done:
            raise OSError("no space")
        done.append(name)
        write(target, name, datasets)

    monkeypatch.setattr(growing_file, "write_group", write_one)
    with pytest.raises(OSError, match="no space"):
        file.write(_groups(2, 3))
    monkeypatch.undo()
    after = GrowingFile(tmp_path / "f.h5")
    assert ("db/1" in after, "db/2" in after) == (True, False)
    after.write(_groups(2, 3))
    assert _read(after.merge()) == {"db/1": 1, "db/2": 2, "db/3": 3}


def test_a_kill_before_the_parts_are_removed_leaves_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = GrowingFile(tmp_path / "f.h5")
    file.write(_groups(1))
    monkeypatch.setattr(growing_file.shutil, "rmtree", lambda *_, **__: None)
    file.merge()
    monkeypatch.undo()
    assert _read(GrowingFile(tmp_path / "f.h5").merge()) == {"db/1": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_a_full_disk_is_said_and_costs_only_what_was_being_written(tmp_path: Path) -> None:
    program = f"""if True:
        from pathlib import Path
        import numpy as np
        from gim.errors import DiskFull
        from gim.localisation.growing_file import GrowingFile
        file = GrowingFile(Path({str(tmp_path)!r}) / "f.h5")
        try:
            for number in range(9):
                file.write({{f"db/{{number}}": {{"x": np.arange(60_000)}}}})
        except DiskFull as error:
            print(error)
        names = [f"db/{{number}}" for number in range(9)]
        print(sum(name in GrowingFile(file.path) for name in names))
    """
    done = run_on_small_disk(tmp_path, "2m", f'{sys.executable} -c "$1"', program)
    said, num_kept = done.stdout.splitlines()
    assert said.endswith(".h5: no room is left on its disk; the same command goes on once there is")
    assert 1 < int(num_kept) < 6


def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "f.h5").write_bytes(b"not HDF5")
    with pytest.raises(InvalidInput, match=r"f.h5: not a readable HDF5 file; remove it"):
        GrowingFile(tmp_path / "f.h5")


def test_a_new_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_file(tmp_path / "f.h5"):
        raise RuntimeError
    assert not (tmp_path / "f.h5").exists()
    with new_file(tmp_path / "f.h5"):
        assert not (tmp_path / "f.h5").exists()
    assert (tmp_path / "f.h5").exists()
