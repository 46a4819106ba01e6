"""What YouTube's pages and play lists could name instead of a video: nothing that is not public is ever reached.

The real yt-dlp with our options. Only what reads a page is replaced, by what a hostile page would say. 127.0.0.1
stands for the public host that YouTube's addresses lead to, 127.0.0.2 for a neighbour inside: nothing else can, without
a network.
"""

import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

from gim.adapters.store_file import FileStore
from gim.errors import GimError, InvalidInput, UnsafeInput
from gim.transfer import addresses
from gim.video.sources.youtube import client_options
from tests.integration.faulty_server import FaultyServer, Page, serving
from tests.integration.test_sources_http import VIDEO
from tests.integration.test_sources_youtube import CONFIG as TRUSTING
from tests.integration.test_sources_youtube import ID, answer_with, collect_its_sockets, fetch, page_of

__all__ = ["collect_its_sockets"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CONFIG = replace(TRUSTING, allow_private_addresses=False)
METADATA = "http://169.254.169.254/latest/meta-data/iam"
SEGMENT = "#EXTINF:1.0,\n"


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    with serving("127.0.0.1") as server:
        yield server


@pytest.fixture
def inside() -> Iterator[FaultyServer]:
    with serving("127.0.0.2") as server:
        server.pages["/secret"] = Page(VIDEO)
        yield server
        assert server.requests == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    assert list(opened.list()) == []
    opened.close()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every address that a socket of this process is connected to."""
    asked: list[Any] = []

    class Watched(socket.socket):
        def connect(self, address: Any) -> None:
            asked.append(address[0])
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Watched)
    yield asked
    assert set(asked) <= {"127.0.0.1"}


def offer(monkeypatch: pytest.MonkeyPatch, url: str, protocol: str = "https", **changes: Any) -> None:
    page = page_of(url)
    page["formats"] = [{**page["formats"][1], "url": url, "protocol": protocol, **changes}]
    answer_with(monkeypatch, YoutubeIE, page)


def play_list(*lines: str) -> Page:
    body = "\n".join(["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", *lines, "#EXT-X-ENDLIST", ""])
    return Page(body.encode(), content_type="application/vnd.apple.mpegurl")


def refused(store: FileStore, tmp_path: Path, kind: type[GimError] = UnsafeInput) -> str:
    with pytest.raises(kind) as raised:
        fetch(ID, store, tmp_path / "work", CONFIG)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("url", [METADATA, "http://127.0.0.2:{port}/secret", "http://[::1]/x", "http://2130706434/x"])
def test_a_format_that_lies_inside_is_not_asked_for(
    public: FaultyServer,
    inside: FaultyServer,
    connected: list[Any],
    store: FileStore,
    tmp_path: Path,
    url: str,
    monkeypatch,
) -> None:
    offer(monkeypatch, url.format(port=inside.server_address[1]))

    assert "not a public address" in refused(store, tmp_path)
    assert connected == []


def test_a_redirect_inwards_is_not_followed(
    public: FaultyServer, inside: FaultyServer, connected: list[Any], store: FileStore, tmp_path: Path, monkeypatch
) -> None:
    public.pages["/video"] = Page(answers=[(302, {"Location": inside.url("/secret")})] * 9)
    offer(monkeypatch, public.url("/video"))

    assert "127.0.0.2" in refused(store, tmp_path)
    assert connected


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.2/secret"])
def test_a_redirect_to_another_scheme_is_not_followed(
    public: FaultyServer,
    inside: FaultyServer,
    connected: list[Any],
    store: FileStore,
    tmp_path: Path,
    location: str,
    monkeypatch,
) -> None:
    public.pages["/video"] = Page(answers=[(302, {"Location": location})] * 9)
    offer(monkeypatch, public.url("/video"))

    refused(store, tmp_path, GimError)


def test_a_name_that_answers_anew_inwards_is_connected_to_as_it_was_checked(
    public: FaultyServer, inside: FaultyServer, connected: list[Any], store: FileStore, tmp_path: Path, monkeypatch
) -> None:
    answers = ["127.0.0.1"]

    def rebinding(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        """Public at the first question, inside at every other."""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop() if answers else "127.0.0.2", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    public.pages["/video"] = Page(answers=[(404, {})])
    offer(monkeypatch, f"http://rebind.example:{public.server_address[1]}/video")

    assert "404" in refused(store, tmp_path, InvalidInput)
    assert connected == ["127.0.0.1"]
    assert [request.host.split(":")[0] for request in public.requests] == ["rebind.example"]
    assert "not a public address" in refused(store, tmp_path)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((SEGMENT + METADATA,), UnsafeInput),
        ((SEGMENT + "http://127.0.0.2:{port}/secret",), UnsafeInput),
        ((SEGMENT + "file:///etc/passwd",), GimError),
        ((SEGMENT + "ftp://127.0.0.2/secret",), GimError),
        (('#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.2:{port}/secret"', SEGMENT + "/first.ts"), UnsafeInput),
        (('#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"', SEGMENT + "/first.ts"), GimError),
        (('#EXT-X-MAP:URI="http://127.0.0.2:{port}/secret"', SEGMENT + "/first.ts"), UnsafeInput),
        (('#EXT-X-MAP:URI="file:///etc/passwd"', SEGMENT + "/first.ts"), GimError),
    ],
)
def test_a_play_list_cannot_name_files_or_what_lies_inside(
    public: FaultyServer,
    inside: FaultyServer,
    connected: list[Any],
    store: FileStore,
    tmp_path: Path,
    lines: tuple[str, ...],
    kind: type[GimError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = inside.server_address[1]
    public.pages["/list.m3u8"] = play_list(*(line.format(port=port) for line in lines))
    public.pages["/first.ts"] = Page(VIDEO[:1024])
    offer(monkeypatch, public.url("/list.m3u8"), "m3u8_native")

    refused(store, tmp_path, kind)
    assert public.requests[0].path == "/list.m3u8"
    assert not any(b"root:" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_fragment_list_of_a_page_cannot_name_what_lies_inside(
    public: FaultyServer, inside: FaultyServer, connected: list[Any], store: FileStore, tmp_path: Path, monkeypatch
) -> None:
    public.pages["/first"] = Page(VIDEO[:1024])
    fragments = [{"url": public.url("/first")}, {"url": inside.url("/secret")}, {"url": "file:///etc/passwd"}]
    offer(monkeypatch, public.url("/x.mpd"), "http_dash_segments", fragments=fragments)

    assert "127.0.0.2" in refused(store, tmp_path)


@pytest.mark.parametrize(
    "line", ['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x"', '#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,KEYFORMAT="urn:x"']
)
def test_no_other_program_is_started_for_a_play_list_that_yt_dlp_cannot_read(
    public: FaultyServer, inside: FaultyServer, store: FileStore, tmp_path: Path, line: str, monkeypatch
) -> None:
    """FFmpeg would connect by itself, to wherever the list says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        program = programs / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\necho ffmpeg version 7.0\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(FFmpegPostProcessor, "_version_cache", {None: None})  # what it found before
    public.pages["/list.m3u8"] = play_list(line, SEGMENT + "http://127.0.0.2/secret")
    offer(monkeypatch, public.url("/list.m3u8"), "m3u8_native")

    refused(store, tmp_path, GimError)
    assert not (tmp_path / "started").exists()


def test_nothing_but_the_chosen_format_is_asked_for(
    public: FaultyServer, inside: FaultyServer, connected: list[Any], tmp_path: Path, monkeypatch
) -> None:
    public.pages["/video"] = Page(VIDEO)
    page = page_of(public.url("/video"))
    aside = inside.url("/secret")
    page |= {
        "thumbnails": [{"url": aside, "id": "0"}],
        "thumbnail": aside,
        "subtitles": {"en": [{"url": aside, "ext": "vtt"}]},
        "automatic_captions": {"en": [{"url": aside, "ext": "vtt"}]},
    }
    answer_with(monkeypatch, YoutubeIE, page)
    store = FileStore(tmp_path / "store")

    assert fetch(ID, store, tmp_path / "work", CONFIG).num_bytes == len(VIDEO)
    assert [request.path for request in public.requests] == ["/video"]
    store.close()


@pytest.mark.parametrize(
    ("title", "ext"),
    [
        ("../../../etc/cron.d/x", "../../mp4"),
        ("$(touch /x); `id` | sh", "sh;id"),
        ("-exec rm", "part"),
        ("a\0b\n\x1b[2J", "mp4"),
        ("%(id)s.%(ext)s", "%(id)s"),
        ("x" * 9000, "x" * 300),
    ],
)
def test_what_a_page_says_cannot_lead_out_of_the_prefix(
    public: FaultyServer, tmp_path: Path, title: str, ext: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    public.pages["/video"] = Page(VIDEO)
    page = page_of(public.url("/video"), title=title, uploader=title)
    page["formats"] = [{**page["formats"][1], "ext": ext}]
    answer_with(monkeypatch, YoutubeIE, page)
    store = FileStore(tmp_path / "store")

    meta = fetch(ID, store, tmp_path / "work", CONFIG)

    assert meta.source_key in (f"videos/yt-{ID}/source.mp4", f"videos/yt-{ID}/source.bin")
    assert all(key.startswith(f"videos/yt-{ID}/") for key in store.list())
    assert {path.name for path in tmp_path.iterdir()} == {"store", "work"}
    assert all(path.name.startswith(f"yt-{ID}") for path in (tmp_path / "work").iterdir())
    store.close()


def test_the_client_has_one_handler_and_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    options = client_options(CONFIG)
    assert not Path(options["ffmpeg_location"]).exists()
    assert "external_downloader" not in options
