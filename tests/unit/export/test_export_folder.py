import errno
import os
import subprocess
import sys

import pytest

from gim.errors import InvalidInput, Unavailable
from gim.export.folder import DESCRIPTION, new_folder


def _export(out, text, **options):
    with new_folder(out, **options) as folder:
        (folder / DESCRIPTION).write_text(text)


def _half_write(folder, error):
    (folder / "x").write_text("1")
    raise error


def test_the_folder_appears_at_the_end(tmp_path):
    out = tmp_path / "a" / "out"
    with new_folder(out) as folder:
        (folder / "x").write_text("1")
        assert not out.exists()
    assert (out / "x").read_text() == "1"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InvalidInput, RuntimeError])
def test_after_an_error_nothing_is_left_and_an_earlier_export_stays(tmp_path, error):
    _export(tmp_path / "out", "old")
    with pytest.raises(error), new_folder(tmp_path / "out", overwrite=True) as folder:
        _half_write(folder, error)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / DESCRIPTION).read_text() == "old"


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(Unavailable, match=r"cannot write .*out: the disk is full"), new_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_content_is_not_overwritten_unasked(tmp_path):
    _export(tmp_path / "out", "old")
    with pytest.raises(InvalidInput, match="--overwrite"):
        _export(tmp_path / "out", "new")
    _export(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / DESCRIPTION).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_is_no_export_is_never_replaced(tmp_path):
    (tmp_path / "precious.txt").write_text("1")
    with pytest.raises(InvalidInput, match="no earlier export"):
        _export(tmp_path, "new", overwrite=True)
    with pytest.raises(InvalidInput, match="is a file"):
        _export(tmp_path / "precious.txt", "new", overwrite=True)
    (tmp_path / "empty").mkdir()
    _export(tmp_path / "empty", "new")
    assert (tmp_path / "precious.txt").read_text() == "1"


def test_what_a_killed_process_left_is_cleared(tmp_path):
    code = f"""
import os
from pathlib import Path
from gim.export.folder import new_folder
with new_folder(Path({str(tmp_path)!r}) / "out") as folder:
    (folder / "half").mkdir()
    (folder / "half" / "written").write_text("1")
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    _export(tmp_path / "out", "new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [DESCRIPTION, "out"]


def test_two_processes_do_not_write_the_same_export(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("1")
        with pytest.raises(Unavailable, match="another process"):
            _export(tmp_path / "out", "new")
    assert (tmp_path / "out" / "x").read_text() == "1"
