"""Downloads against a real server that misbehaves: what arrives in the store, what is refused, what is asked again."""

import datetime
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput, LicenceRefused, Unavailable, UnsafeInput
from gim.ports.telemetry import NullTelemetry
from gim.records import VideoMeta
from gim.transfer import addresses
from gim.video.config import SourceConfig
from gim.video.sources.expand import Source, expand_source
from gim.video.sources.fetch import fetch_source, video_metas
from gim.video.sources.library import sha256_of, source_alias_keys
from tests.integration.faulty_server import CERTIFICATE, FaultyServer, Page, serving

CONFIG = SourceConfig(
    allow_private_addresses=True,
    allow_unknown_licence=True,
    timeout_seconds=1.0,
    max_attempts=3,
    first_wait_seconds=0.01,
    max_wait_seconds=2.0,
)
VIDEO = b"\x00\x00\x00\x18ftypmp42" + random.Random(3).randbytes(1_500_000)


class Recorder(NullTelemetry):
    def __init__(self) -> None:
        self.reports: list[tuple[str, float, float]] = []

    def progress(self, video_id: str, phase: str, done: float, total: float) -> None:
        self.reports.append((phase, done, total))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as running:
        running.pages["/walk.mp4"] = Page(VIDEO)
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def fetch(url: str, store: FileStore, work: Path, config: SourceConfig = CONFIG) -> VideoMeta:
    (source,) = expand_source(url, config)
    return fetch_source(source, store, config, work_dir=work, today=lambda: datetime.date(2026, 1, 2))


def assert_stored(store: FileStore, meta: VideoMeta, expected: bytes = VIDEO) -> None:
    assert store.get(meta.source_key) == expected
    assert meta.num_bytes == len(expected)
    assert list(video_metas(store)) == [meta]


def assert_nothing_left(store: FileStore, work: Path) -> None:
    assert list(store.list()) == []
    assert list(work.iterdir()) == []


def test_fetch_when_all_is_well_then_stores_the_bytes_once_and_their_provenance(server, store, work):
    telemetry = Recorder()
    source = Source(server.url("/walk.mp4?token=secret"), "http", server.url("/walk.mp4?token=secret"))
    server.pages["/walk.mp4?token=secret"] = Page(VIDEO)

    meta = fetch_source(source, store, CONFIG, work_dir=work, telemetry=telemetry)
    again = fetch_source(source, store, CONFIG, work_dir=work)

    assert_stored(store, meta)
    assert again == meta
    assert len(server.requests) == 1
    assert meta.video_id == f"file-{meta.sha256[:16]}"
    assert meta.source_key.endswith("source.mp4")
    assert meta.provenance.resolved == server.url("/walk.mp4")
    assert (meta.provenance.licence, meta.provenance.licence_from) == ("unknown", "")
    assert "gim" in meta.provenance.tools
    assert telemetry.reports[-1] == ("fetch", len(VIDEO), len(VIDEO))
    assert [done for _, done, _ in telemetry.reports] == sorted(done for _, done, _ in telemetry.reports)
    assert list(work.iterdir()) == []


@pytest.mark.shared
def test_fetch_when_the_file_is_a_real_video_then_id_and_bytes_are_those_of_the_local_file(
    server, store, work, shared_data
):
    path = shared_data / "data" / "videos" / "gopro_walk_10s.mp4"
    server.pages["/real.mp4"] = Page(path.read_bytes(), drops=[1_000_000])

    remote = fetch(server.url("/real.mp4"), store, work)
    local = fetch(str(path), store, work)

    assert remote == local
    assert remote.sha256 == sha256_of(path)
    assert [key for key in store.list("videos/") if "source" in key] == [remote.source_key]


def test_fetch_when_two_urls_serve_the_same_bytes_then_one_video_with_two_aliases(server, store, work):
    server.pages["/copy.mov"] = Page(VIDEO)

    first = fetch(server.url("/walk.mp4"), store, work)
    second = fetch(server.url("/copy.mov"), store, work)

    assert second == first
    assert list(store.list("videos/")) == sorted([first.source_key, keys.video_meta(first.video_id)])
    assert len(source_alias_keys(store, first.video_id)) == 2
    assert source_alias_keys(store, "file-0123456789abcdef") == []


def test_fetch_when_the_video_was_purged_then_the_alias_does_not_stand_in_its_way(server, store, work):
    meta = fetch(server.url("/walk.mp4"), store, work)
    for key in list(store.list(keys.video_prefix(meta.video_id))):
        store.delete(key)

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert len(server.requests) == 2


def test_fetch_when_the_connection_drops_then_continues_where_it_stopped(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO, drops=[400_000, 300_000])

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))

    ranges = [request.range_header for request in server.requests]
    assert ranges == ["", "bytes=400000-", "bytes=700000-"]
    assert [request.if_range for request in server.requests] == ["", '"v1"', '"v1"']


@pytest.mark.parametrize("torn", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Len"])
def test_fetch_when_an_answer_breaks_off_among_its_headers_then_asks_again(server, store, work, torn):
    server.pages["/walk.mp4"].torn_heads = [torn]
    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert len(server.requests) == 2


def test_fetch_when_drops_bring_progress_then_they_do_not_use_up_the_attempts(server, store, work):
    body = VIDEO * 6
    server.pages["/walk.mp4"] = Page(body, drops=[1_200_000] * 6)

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work), body)
    assert len(server.requests) == 7 > CONFIG.max_attempts


@pytest.mark.parametrize("page", [Page(VIDEO, ranges=False), Page(VIDEO, etag=""), Page(VIDEO, etag='W/"weak"')])
def test_fetch_when_the_server_cannot_continue_safely_then_starts_again(server, store, work, page):
    server.pages["/walk.mp4"] = replace(page, drops=[400_000])

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert server.requests[-1].sent_bytes >= len(VIDEO)


def test_fetch_when_only_a_date_is_given_then_it_validates_the_rest(server, store, work):
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    server.pages["/walk.mp4"] = Page(VIDEO, etag="", last_modified=date, drops=[400_000])

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert (server.requests[1].range_header, server.requests[1].if_range) == ("bytes=400000-", date)


def test_fetch_when_the_object_changed_meanwhile_then_nothing_of_the_old_one_is_kept(server, store, work):
    other = VIDEO[:12] + bytes(900_000) + b"end"
    server.pages["/walk.mp4"] = Page(VIDEO, drops=[400_000] * 3)
    with pytest.raises(Unavailable, match=r"broke off after 1200000 of 1500012 bytes \(given up after 3 attempts"):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, max_attempts=3))
    server.pages["/walk.mp4"] = Page(other, etag='"v2"')

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work), other)


def test_fetch_when_a_server_ignores_if_range_then_its_etag_gives_the_change_away(server, store, work):
    other = VIDEO[:12] + bytes(1_600_000)
    server.pages["/walk.mp4"] = Page(VIDEO, drops=[400_000] * 3)
    with pytest.raises(Unavailable):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, max_attempts=1))
    # the server's "date" is what the client sends, so it says yes to If-Range: as good as not reading it
    server.pages["/walk.mp4"] = Page(other, etag='"v2"', last_modified='"v1"')

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work), other)


def test_fetch_when_only_the_store_was_missed_by_a_crash_then_nothing_is_transferred_again(server, store, work):
    class DyingStore(FileStore):
        def put_file(self, key: str, path: Path) -> None:
            raise KeyboardInterrupt

    dying = DyingStore(store.root)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url("/walk.mp4"), dying, work)
    dying.close()

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert server.requests[0].sent_bytes >= len(VIDEO)
    assert [request.sent_bytes for request in server.requests[1:]] == [0]
    assert list(work.iterdir()) == []


def test_fetch_when_killed_again_and_again_then_the_same_call_completes_with_the_right_bytes(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO, block_seconds=0.004)
    script = (
        "import sys; from pathlib import Path; from gim.adapters.store_file import FileStore\n"
        "from gim.video.config import SourceConfig; from gim.video.sources.fetch import fetch_source\n"
        "from gim.video.sources.expand import Source\n"
        "config = SourceConfig(allow_private_addresses=True, allow_unknown_licence=True)\n"
        "fetch_source(Source(sys.argv[1], 'http', sys.argv[1]), FileStore(Path(sys.argv[2])), config,"
        " work_dir=Path(sys.argv[3]))\n"
    )
    url = server.url("/walk.mp4")
    for size in (100_000, 600_000):
        process = subprocess.Popen([sys.executable, "-c", script, url, str(store.root), str(work)])
        _wait_for_part(work, size)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert list(store.list()) == []

    assert_stored(store, fetch(url, store, work))
    starts = [int(request.range_header[6:-1]) for request in server.requests[1:]]
    assert len(starts) == 2
    assert 100_000 < starts[0] < starts[1] < len(VIDEO)
    assert list(work.iterdir()) == []


def _wait_for_part(work: Path, num_bytes: int) -> None:
    deadline = time.monotonic() + 60
    while max((path.stat().st_size for path in work.glob("*.part")), default=0) <= num_bytes:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_fetch_when_two_threads_want_the_same_url_then_it_is_transferred_once(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO, block_seconds=0.002)
    metas: list[VideoMeta] = []
    threads = [
        threading.Thread(target=lambda: metas.append(fetch(server.url("/walk.mp4"), store, work))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(metas) == 3
    assert metas[0] == metas[1] == metas[2]
    assert len(server.requests) == 1
    assert list(work.iterdir()) == []


def test_fetch_when_the_server_stumbles_then_tries_again(server, store, work):
    answers = [(500, {}), (429, {"Retry-After": "0"})]
    server.pages["/walk.mp4"] = Page(VIDEO, answers=list(answers))

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "1"},
        {"Retry-After": "Wed, 21 Oct 2026 07:28:01 GMT"},  # one second after the server's Date
    ],
)
def test_fetch_when_asked_to_wait_then_waits_as_long(server, store, work, headers, monkeypatch):
    monkeypatch.setattr(server.RequestHandlerClass, "date_time_string", lambda *_: "Wed, 21 Oct 2026 07:28:00 GMT")
    server.pages["/walk.mp4"] = Page(VIDEO, answers=[(503, headers)])
    started = time.monotonic()

    assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    assert time.monotonic() - started >= 1.0


def test_fetch_when_asked_to_wait_longer_than_patience_then_says_so_at_once(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO, answers=[(429, {"Retry-After": "3600"})])

    with pytest.raises(Unavailable, match=r"answered 429 .* come back after 3600 seconds"):
        fetch(server.url("/walk.mp4"), store, work)
    assert len(server.requests) == 1


def test_fetch_when_the_server_stays_broken_then_unavailable_after_the_attempts(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO, answers=[(502, {})] * 9)

    with pytest.raises(Unavailable, match=r"answered 502 .*given up after 3 attempts"):
        fetch(server.url("/walk.mp4"), store, work)
    assert len(server.requests) == 3
    assert_nothing_left(store, work)


def test_fetch_when_no_byte_comes_then_unavailable(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO, silent_seconds=1.0)

    with pytest.raises(Unavailable, match=r"no answer within source\.timeout_seconds"):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, timeout_seconds=0.1, max_attempts=2))
    assert len(server.requests) == 2


def test_fetch_when_nobody_listens_then_unavailable(store, work):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/walk.mp4"
        with pytest.raises(Unavailable, match="Connection refused"):
            fetch(url, store, work)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_fetch_when_the_server_says_no_then_invalid_at_once(server, store, work, status):
    server.pages["/walk.mp4"] = Page(VIDEO, answers=[(status, {})])

    with pytest.raises(InvalidInput, match=f"the server answered {status}"):
        fetch(server.url("/walk.mp4"), store, work)
    assert len(server.requests) == 1
    assert_nothing_left(store, work)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (Page(b"<!DOCTYPE html><p>Sign in", content_type="text/html"), "a web page"),
        (Page(b"<html><body>" + b"x" * 9000), "a web page"),
        (Page(b"#EXTM3U\nfile:///etc/passwd\n", content_type="application/vnd.apple.mpegurl"), "HLS"),
        (Page(b"#EXTM3U\nhttp://127.0.0.1/x.ts\n"), "HLS"),
        (Page(b'{"error": "no"}', content_type="application/json"), "text"),
        (Page(b""), "empty"),
        (Page(VIDEO, headers={"Content-Encoding": "gzip"}), "compress"),
    ],
)
def test_fetch_when_the_answer_is_no_video_then_refused_and_nothing_left(server, store, work, page, message):
    server.pages["/walk.mp4"] = page

    with pytest.raises(InvalidInput, match=message):
        fetch(server.url("/walk.mp4"), store, work)
    assert_nothing_left(store, work)


def test_fetch_when_the_length_is_over_the_limit_then_refused_before_the_body(server, store, work):
    with pytest.raises(InvalidInput, match=r"has 1500012 bytes, more than source\.max_bytes"):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, max_bytes=1_000_000))
    assert_nothing_left(store, work)


def test_fetch_when_the_body_never_ends_then_stopped_at_the_limit(server, store, work):
    server.pages["/walk.mp4"] = Page(VIDEO[:65_536], chunked_endless=True)

    with pytest.raises(InvalidInput, match=r"is larger than source\.max_bytes"):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, max_bytes=3_000_000))
    assert_nothing_left(store, work)


@pytest.mark.parametrize("ranges", [True, False])
def test_fetch_when_the_length_is_a_lie_then_never_stores_a_file_taken_for_whole(server, store, work, ranges):
    server.pages["/walk.mp4"] = Page(VIDEO, claimed_bytes=len(VIDEO) + 1000, ranges=ranges)

    if ranges:  # asked for the rest, the server tells the true length
        assert_stored(store, fetch(server.url("/walk.mp4"), store, work))
    else:
        with pytest.raises(Unavailable, match="broke off after 1500012 of 1501012 bytes"):
            fetch(server.url("/walk.mp4"), store, work)
        assert list(store.list()) == []


def test_fetch_when_redirected_then_follows_and_keeps_the_first_url_as_alias(server, store, work):
    server.pages["/old"] = Page(answers=[(302, {"Location": "/walk.mp4?signature=x"})])
    server.pages["/walk.mp4?signature=x"] = Page(VIDEO)

    meta = fetch(server.url("/old"), store, work)

    assert meta.provenance.resolved == server.url("/walk.mp4")
    assert meta.source_key.endswith(".mp4")
    assert fetch(server.url("/old"), store, work) == meta
    assert len(server.requests) == 2


@pytest.mark.parametrize("location", ["/loop", "", "http://127.0.0.1:{port}/loop"])
def test_fetch_when_redirected_in_a_circle_then_invalid(server, store, work, location):
    target = location.format(port=server.server_address[1])
    server.pages["/loop"] = Page(answers=[(301, {"Location": target})] * 99)

    with pytest.raises(InvalidInput, match="redirects more than 10 times"):
        fetch(server.url("/loop"), store, work)
    assert len(server.requests) == 10


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_fetch_when_redirected_to_another_scheme_then_invalid(server, store, work, location):
    server.pages["/away"] = Page(answers=[(302, {"Location": location})])

    with pytest.raises(InvalidInput, match="only http and https"):
        fetch(server.url("/away"), store, work)


def test_fetch_when_the_address_is_private_then_refused_before_any_request(server, store, work):
    with pytest.raises(UnsafeInput, match=r"127\.0\.0\.1.*allow_private_addresses=true"):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, allow_private_addresses=False))
    assert server.requests == []


def test_fetch_when_redirected_to_a_private_address_then_refused_there(server, store, work, monkeypatch):
    # stands for a public host: nothing else can, without a network
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    with serving("127.0.0.2") as inside:
        inside.pages["/secret"] = Page(VIDEO)
        server.pages["/away"] = Page(answers=[(302, {"Location": inside.url("/secret")})])
        with pytest.raises(UnsafeInput, match=r"127\.0\.0\.2"):
            fetch(server.url("/away"), store, work, replace(CONFIG, allow_private_addresses=False))
        assert inside.requests == []
    assert len(server.requests) == 1


def test_fetch_when_the_name_resolves_anew_to_a_private_address_then_connects_to_the_checked_one(
    server, store, work, monkeypatch
):
    answers = itertools.chain(["127.0.0.1"], itertools.repeat("127.0.0.2"))
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    port = server.server_address[1]

    config = replace(CONFIG, allow_private_addresses=False)
    assert_stored(store, fetch(f"http://rebind.example:{port}/walk.mp4", store, work, config))

    assert asked == ["rebind.example"]
    assert server.requests[0].host == f"rebind.example:{port}"


def test_fetch_when_one_of_several_addresses_is_private_then_refused(server, store, work, monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(UnsafeInput, match=r"10\.0\.0\.1"):
        fetch("http://both.example/x.mp4", store, work, replace(CONFIG, allow_private_addresses=False))


def test_fetch_when_over_tls_then_the_certificate_must_be_trusted_and_name_the_host(store, work, monkeypatch):
    with serving(tls=True) as server:
        server.pages["/walk.mp4"] = Page(VIDEO)
        with pytest.raises(InvalidInput, match="TLS certificate is not trusted"):
            fetch(server.url("/walk.mp4", "localhost"), store, work)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        with pytest.raises(InvalidInput, match=r"TLS certificate is not trusted .*127\.0\.0\.1"):
            fetch(server.url("/walk.mp4", "127.0.0.1"), store, work)

        assert_stored(store, fetch(server.url("/walk.mp4", "localhost"), store, work))


def test_fetch_when_no_licence_is_known_then_refused_before_any_request(server, store, work):
    with pytest.raises(LicenceRefused, match=r"no licence is stated; .*allow_unknown_licence=true"):
        fetch(server.url("/walk.mp4"), store, work, replace(CONFIG, allow_unknown_licence=False))
    assert server.requests == []


def test_fetch_when_the_user_declares_a_licence_then_it_is_judged_and_recorded_as_declared(server, store, work):
    config = replace(CONFIG, allow_unknown_licence=False)
    url = server.url("/walk.mp4")

    with pytest.raises(LicenceRefused, match="All rights reserved"):
        fetch(f'{url} licence="All rights reserved"', store, work, config)
    meta = fetch(f'{url} licence="CC BY 4.0"', store, work, config)

    assert_stored(store, meta)
    assert (meta.provenance.licence, meta.provenance.licence_from) == ("CC BY 4.0", "user")
    assert meta.provenance.licence_seen == "2026-01-02"


def test_fetch_when_the_disk_has_too_little_room_then_unavailable_before_the_body(server, store, work, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))

    with pytest.raises(Unavailable, match=r"needs 1500012 bytes, but .* has 1000 left"):
        fetch(server.url("/walk.mp4"), store, work)
    assert_nothing_left(store, work)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_fetch_when_the_disk_fills_up_then_one_line_and_nothing_left(server, store, work):
    work.mkdir()
    url = server.url("/walk.mp4")
    (work / f"{Path(keys.source_alias(url)).stem}.part").symlink_to("/dev/full")

    with pytest.raises(Unavailable, match="no space left on the disk"):
        fetch(url, store, work)
    assert not list(work.glob("*.part"))
    assert list(store.list()) == []
