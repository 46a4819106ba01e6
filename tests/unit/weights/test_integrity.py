"""Digests are those of sha256sum and git, and are remembered only while nothing about the file changed."""

import hashlib
import json
import os
import subprocess
import time
from dataclasses import replace

import pytest

from gim.errors import InvalidInput, Unavailable
from gim.weights import integrity
from gim.weights.integrity import DigestMemory, check_published, digests_of
from gim.weights.spec import PublishedFile

BYTES = bytes(range(256)) * 5000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(BYTES)
    return path


@pytest.fixture
def reads(monkeypatch):
    seen = []
    monkeypatch.setattr(integrity, "digests_of", lambda path: seen.append(path) or digests_of(path))
    return seen


@pytest.fixture
def settled(monkeypatch):
    """A file of a moment ago counts as settled; a change time cannot be set back."""
    monkeypatch.setattr(integrity, "_SETTLED_SECONDS", -3600.0)


def test_digests_are_those_of_other_tools(file):
    found = digests_of(file)
    said = subprocess.run(["git", "hash-object", "--no-filters", file], capture_output=True, text=True, check=True)
    assert found.git_blob == said.stdout.strip()
    assert found.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert found.num_bytes == len(BYTES)


@pytest.mark.parametrize(
    ("published", "what"),
    [({"num_bytes": 3}, "size in bytes"), ({"sha256": "0" * 64}, "sha256"), ({"git_blob": "0" * 40}, "git blob id")],
)
def test_another_file_than_published_is_refused_by_what_differs(file, published, what):
    found = digests_of(file)
    right = PublishedFile("a.pth", (), found.num_bytes, found.sha256, found.git_blob)
    check_published(file, found, right)
    with pytest.raises(InvalidInput, match=rf"a\.pth: not the published file: its {what} is"):
        check_published(file, found, replace(right, **published))


def test_memory_reads_a_file_once_in_any_process(file, tmp_path, reads, settled):
    found = [DigestMemory(tmp_path / "digests.json").digests_of(file) for _ in range(3)]
    assert found == [digests_of(file)] * 3
    assert len(reads) == 1


@pytest.mark.parametrize("change", ["content", "time", "replaced"])
def test_memory_when_anything_about_the_file_changed_then_reads_it_again(file, tmp_path, reads, settled, change):
    memory = DigestMemory(tmp_path / "digests.json")
    before, state = memory.digests_of(file), file.stat()
    other = b"x" + BYTES[1:]
    if change == "content":  # same size, and the time put back: the inode's change time gives it away
        file.write_bytes(other)
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    elif change == "time":
        os.utime(file, ns=(1, 1))
        other = BYTES
    else:
        (tmp_path / "b").write_bytes(other)
        (tmp_path / "b").replace(file)
    after = memory.digests_of(file)
    assert len(reads) == 2
    assert after.sha256 == hashlib.sha256(other).hexdigest()
    assert (after == before) == (change == "time")


def test_memory_does_not_trust_a_file_that_was_only_just_written(file, tmp_path, reads):
    memory = DigestMemory(tmp_path / "digests.json")
    memory.digests_of(file)
    memory.digests_of(file)
    assert len(reads) == 2


def test_memory_forgets_files_that_are_gone(file, tmp_path, settled):
    memory = DigestMemory(tmp_path / "digests.json")
    gone = tmp_path / "gone.pth"
    gone.write_bytes(b"1")
    memory.digests_of(gone)
    gone.unlink()
    memory.digests_of(file)
    assert list(json.loads((tmp_path / "digests.json").read_text())) == [str(file)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "digests.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"state": {}}}'])
def test_memory_that_cannot_be_read_is_as_good_as_none(file, tmp_path, settled, text):
    (tmp_path / "digests.json").write_text(text)
    assert DigestMemory(tmp_path / "digests.json").digests_of(file) == digests_of(file)


def test_memory_that_cannot_be_written_is_as_good_as_none(file, tmp_path, settled):
    (tmp_path / "not-a-folder").write_text("")
    assert DigestMemory(tmp_path / "not-a-folder" / "digests.json").digests_of(file) == digests_of(file)


def test_a_file_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match=r"gone\.pth: cannot be read"):
        DigestMemory(tmp_path / "digests.json").digests_of(tmp_path / "gone.pth")


def test_memory_saves_reading_a_big_file(tmp_path, settled):
    big = tmp_path / "big.pth"
    with big.open("wb") as stream:
        stream.truncate(64 * 2**20)
    memory = DigestMemory(tmp_path / "digests.json")
    started = time.perf_counter()
    found = memory.digests_of(big)
    first = time.perf_counter() - started
    started = time.perf_counter()
    assert memory.digests_of(big) == found
    assert time.perf_counter() - started < first / 5
