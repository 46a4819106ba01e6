"""Weights from a real server that misbehaves: what arrives in the cache, what is refused, who waits for whom."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gim.errors import DiskFull, InvalidInput, Unavailable
from gim.transfer.limits import TransferLimits
from gim.weights import files
from gim.weights.config import WeightsConfig
from gim.weights.fetch import LIMITS, fetch_file
from gim.weights.files import find_weights
from gim.weights.spec import PublishedFile, WeightsSpec
from tests.integration.faulty_server import FaultyServer, Page, serving
from tests.small_disk import run_on_small_disk

ROOT = Path(__file__).resolve().parents[2]
BODY = b"PK\x03\x04" + random.Random(5).randbytes(1_500_000)
OTHER = b"PK\x03\x04" + random.Random(6).randbytes(1_500_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
IMPATIENT = replace(LIMITS, timeout_seconds=1.0, max_attempts=3, first_wait_seconds=0.01, max_wait_seconds=0.1)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as running:
        running.pages["/a.pth"] = Page(BODY, content_type="application/octet-stream")
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def published(server: FaultyServer, *paths: str, **known: object) -> PublishedFile:
    known = known or {"num_bytes": len(BODY), "sha256": SHA256}
    return PublishedFile("a.pth", tuple(server.url(path) for path in paths or ("/a.pth",)), **known)


def fetch(file: PublishedFile, cache: Path, limits: TransferLimits = IMPATIENT) -> Path:
    return fetch_file(file, cache, lambda done, total: None, limits).path


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_a_file_is_fetched_once_checked_and_told_of(server, cache):
    told = []
    fetched = fetch_file(published(server), cache, lambda done, total: told.append((done, total)), IMPATIENT)
    assert fetched.path.read_bytes() == BODY
    assert fetched.digests.sha256 == SHA256
    assert told[-1] == (len(BODY), len(BODY))
    fetch(published(server), cache)
    assert len(server.requests) == 1
    assert names(cache) == ["a.pth"]


def test_a_broken_transfer_is_continued_where_it_stopped(server, cache):
    server.pages["/a.pth"] = Page(BODY, drops=[400_000, 300_000])
    assert fetch(published(server), cache).read_bytes() == BODY
    assert [request.range_header for request in server.requests] == ["", "bytes=400000-", "bytes=700000-"]
    assert [request.if_range for request in server.requests] == ["", '"v1"', '"v1"']


def test_a_process_killed_in_the_middle_leaves_nothing_that_is_taken_for_whole(server, cache):
    server.pages["/a.pth"] = Page(BODY, block_seconds=0.005)
    process = start_fetching(server, cache)
    wait_for(lambda: any(path.stat().st_size > 300_000 for path in cache.glob("*.part")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "a.pth" not in names(cache)

    assert fetch(published(server), cache).read_bytes() == BODY
    assert int(server.requests[-1].range_header.removeprefix("bytes=").removesuffix("-")) > 300_000
    assert names(cache) == ["a.pth"]


def test_two_processes_that_want_one_file_fetch_it_once(server, cache):
    server.pages["/a.pth"] = Page(BODY, block_seconds=0.002)
    processes = [start_fetching(server, cache) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (cache / "a.pth").read_bytes() == BODY
    assert len(server.requests) == 1
    assert names(cache) == ["a.pth"]


def start_fetching(server: FaultyServer, cache: Path) -> subprocess.Popen[bytes]:
    script = (
        "import sys; from pathlib import Path\n"
        "from gim.weights.fetch import fetch_file; from gim.weights.spec import PublishedFile\n"
        "file = PublishedFile('a.pth', (sys.argv[1],), None, sys.argv[2])\n"
        "fetch_file(file, Path(sys.argv[3]), lambda done, total: None)\n"
    )
    command = [sys.executable, "-c", script, server.url("/a.pth"), SHA256, str(cache)]
    return subprocess.Popen(command, cwd=ROOT)


def wait_for(condition) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_another_file_than_published_is_refused_and_not_kept(server, cache):
    server.pages["/a.pth"] = Page(OTHER)
    with pytest.raises(InvalidInput, match=r"/a\.pth: weights a\.pth: not the published file: its sha256 is"):
        fetch(published(server), cache)
    assert names(cache) == []


def test_a_wrong_file_at_one_address_is_sought_at_the_next(server, cache):
    server.pages["/wrong"] = Page(OTHER)
    assert fetch(published(server, "/absent", "/wrong", "/a.pth"), cache).read_bytes() == BODY
    assert [request.path for request in server.requests] == ["/absent", "/wrong", "/a.pth"]


def test_a_part_from_one_address_is_not_continued_from_another(server, cache):
    server.pages["/slow"] = Page(OTHER, drops=[600_000] * 9, ranges=False)
    assert fetch(published(server, "/slow", "/a.pth"), cache).read_bytes() == BODY
    assert server.requests[-1].range_header == ""


def test_when_no_address_gives_it_then_each_says_why(server, cache):
    server.pages["/down"] = Page(answers=[(503, {})] * 9)
    with pytest.raises(Unavailable, match=r"/absent: the server answered 404.*; .*/down: the server answered 503"):
        fetch(published(server, "/absent", "/down"), cache)
    assert names(cache) == []


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
def test_a_page_instead_of_a_file_is_refused_though_no_hash_is_known(server, cache, content_type):
    server.pages["/a.pth"] = Page(b"<!DOCTYPE html><p>Sign in", content_type=content_type)
    with pytest.raises(InvalidInput, match="a web page"):
        fetch(published(server, num_bytes=None), cache)
    assert names(cache) == []


def test_a_file_longer_than_published_is_not_fetched(server, cache):
    with pytest.raises(InvalidInput, match=r"has 1500004 bytes, more than max_bytes \(1000\)"):
        fetch(published(server, num_bytes=1000), cache)


def test_without_a_published_hash_the_first_is_trusted_and_another_refused(server, cache):
    unhashed = published(server, num_bytes=None)
    path = fetch(unhashed, cache)
    checked = subprocess.run(["sha256sum", "-c", "a.pth.sha256"], cwd=cache, capture_output=True, check=False)
    assert checked.returncode == 0

    path.unlink()
    server.pages["/a.pth"] = Page(OTHER, etag='"v2"')
    with pytest.raises(InvalidInput, match=r"not the file that was here first.*a\.pth\.sha256"):
        fetch(unhashed, cache)
    assert names(cache) == ["a.pth.sha256"]


def test_a_disk_without_room_is_told_before_the_body(server, cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DiskFull, match=r"needs 1500004 bytes, .* has 1000 left: free some, or set weights\.cache"):
        fetch(published(server, "/a.pth", "/a.pth"), cache)
    assert len(server.requests) == 1
    assert names(cache) == []


def test_a_disk_that_fills_up_is_told_in_one_line_and_left_clean(server, tmp_path):
    server.pages["/a.pth"] = Page(BODY, claimed_bytes=None)
    mount = tmp_path / "disk"
    mount.mkdir()
    script = (
        "import sys; from pathlib import Path; import shutil; from types import SimpleNamespace as S\n"
        "from gim.weights.fetch import fetch_file; from gim.weights.spec import PublishedFile\n"
        "shutil.disk_usage = lambda _: S(free=10**12)\n"  # as when somebody else writes at the same time
        "try: fetch_file(PublishedFile('a.pth', (sys.argv[1],)), Path(sys.argv[2]), lambda done, total: None)\n"
        "except Exception as error: print(type(error).__name__, error, [p.name for p in Path(sys.argv[2]).iterdir()])\n"
    )
    done = run_on_small_disk(
        mount, "1m", 'exec "$@"', sys.executable, "-c", script, server.url("/a.pth"), str(mount), cwd=ROOT
    )
    assert done.stdout.startswith("DiskFull no space left on the disk"), done.stdout + done.stderr
    assert "weights.cache" in done.stdout
    assert "a.pth'" not in done.stdout


def test_a_name_is_fetched_on_use_unless_offline(server, cache, monkeypatch):
    spec = WeightsSpec("one", (published(server),), "MIT", True, "first", "https://one.example")
    monkeypatch.setattr(files, "CATALOGUE", {"one": spec})
    config = WeightsConfig(cache=str(cache))
    with pytest.raises(Unavailable, match=r"weights one are not here and weights\.offline is set: put a\.pth"):
        find_weights("one", replace(config, offline=True))
    assert server.requests == []

    found = find_weights("one", config)

    assert (found.path, found.sha256) == (str(cache / "a.pth"), SHA256)
    assert find_weights("one", replace(config, offline=True)) == found
    assert len(server.requests) == 1


def test_a_file_damaged_in_the_cache_is_refused_though_it_was_checked_before(server, cache, monkeypatch):
    spec = WeightsSpec("one", (published(server),), "MIT", True, "first", "https://one.example")
    monkeypatch.setattr(files, "CATALOGUE", {"one": spec})
    find_weights("one", WeightsConfig(cache=str(cache)))
    (cache / "a.pth").write_bytes(OTHER)
    with pytest.raises(InvalidInput, match="its sha256 is"):
        find_weights("one", WeightsConfig(cache=str(cache)))
