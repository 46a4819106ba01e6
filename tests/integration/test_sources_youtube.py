"""YouTube without YouTube: the real yt-dlp with our options, its own selector and downloader, on a server of ours.

Only what reads YouTube's pages is replaced, one method of each extractor, by what those methods return.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yt_dlp
from yt_dlp.extractor.youtube import YoutubeIE, YoutubeSearchIE, YoutubeTabIE
from yt_dlp.utils import ExtractorError, GeoRestrictedError

from gim.adapters.store_file import FileStore
from gim.errors import DiskFull, InvalidInput, LicenceRefused, NotOffered, Unavailable
from gim.records import VideoMeta
from gim.video.config import SourceConfig
from gim.video.sources.expand import SkippedSource, expand_source
from gim.video.sources.fetch import fetch_source
from gim.video.sources.youtube import OpenVideo, client_options
from gim.video.sources.youtube_runtime import find_javascript
from tests.integration.faulty_server import FaultyServer, Page, serving
from tests.integration.test_sources_http import VIDEO

# yt-dlp leaves the responses of refused requests to the garbage collector: see `collect_its_sockets`.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

ID = "aqz-KE-bpKQ"
CONFIG = SourceConfig(
    allow_private_addresses=True, timeout_seconds=1.0, max_attempts=3, first_wait_seconds=0.01, max_wait_seconds=0.1
)
CREATIVE_COMMONS = "Creative Commons Attribution license (reuse allowed)"


def page_of(url: str, **changes: Any) -> dict[str, Any]:
    """What yt-dlp reads from a video's page, as far as it matters here."""
    pictures = {
        "url": url,
        "ext": "mp4",
        "protocol": "https",
        "acodec": "none",
        "fps": 30,
        "width": 1920,
        "height": 1080,
    }
    return {
        "id": ID,
        "title": "Walk in Tokyo",
        "uploader": "Walker",
        "license": CREATIVE_COMMONS,
        "formats": [
            {
                "url": f"{url}.m4a",
                "ext": "m4a",
                "protocol": "https",
                "format_id": "140",
                "vcodec": "none",
                "acodec": "mp4a",
            },
            {**pictures, "format_id": "137", "vcodec": "avc1.640028"},
            {**pictures, "format_id": "399", "vcodec": "av01.0.08M.08", "url": f"{url}.av1"},
        ],
        **changes,
    }


@pytest.fixture(autouse=True)
def collect_its_sockets() -> Iterator[None]:
    """Collect here what would otherwise warn in some later test, which has no part in it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as running:
        running.pages["/video"] = Page(VIDEO)
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def answer_with(monkeypatch: pytest.MonkeyPatch, extractor: type, result: dict[str, Any] | Exception) -> list[str]:
    """Replace what reads the pages of one extractor; returns the URLs it is asked for."""
    asked: list[str] = []

    def extract(_self: Any, url: str) -> dict[str, Any]:
        asked.append(url)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(extractor, "_real_extract", extract)
    return asked


def fetch(text: str, store: FileStore, work: Path, config: SourceConfig = CONFIG) -> VideoMeta:
    (source,) = expand_source(text, config)
    return fetch_source(source, store, config, work_dir=work)


def test_fetch_when_creative_commons_then_stored_with_provenance_and_never_asked_again(
    server, store, work, monkeypatch, capfd
):
    asked = answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video")))

    meta = fetch(f"https://youtu.be/{ID}?t=7", store, work)
    again = fetch(ID, store, work)

    assert again == meta
    assert asked == [f"https://www.youtube.com/watch?v={ID}"]
    assert [request.path for request in server.requests] == ["/video"]
    assert store.get(meta.source_key) == VIDEO
    assert (meta.video_id, meta.source_key) == (f"yt-{ID}", f"videos/yt-{ID}/source.mp4")
    provenance = meta.provenance
    assert (provenance.source, provenance.resolved) == (f"https://youtu.be/{ID}?t=7", asked[0])
    assert (provenance.licence, provenance.licence_from) == (CREATIVE_COMMONS, "site")
    assert (provenance.title, provenance.uploader) == ("Walk in Tokyo", "Walker")
    assert set(provenance.tools) == {"gim", "yt-dlp"}
    assert list(work.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_fetch_when_the_licence_is_standard_then_refused_before_the_download(server, store, work, monkeypatch):
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video"), license=None))

    with pytest.raises(LicenceRefused, match=rf"yt-{ID} \('Walk in Tokyo'\): no licence is stated"):
        fetch(ID, store, work)
    assert server.requests == []
    assert list(store.list()) == []

    meta = fetch(ID, store, work, replace(CONFIG, allow_unknown_licence=True))
    assert meta.provenance.licence == "unknown"
    with pytest.raises(LicenceRefused):  # what was allowed once is not allowed for ever
        fetch(ID, store, work)


def test_fetch_when_the_user_declares_a_licence_then_it_counts_in_place_of_none(server, store, work, monkeypatch):
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video"), license=None))

    meta = fetch(f'{ID} licence="CC BY 4.0"', store, work)

    assert (meta.provenance.licence, meta.provenance.licence_from) == ("CC BY 4.0", "user")


def test_fetch_when_the_connection_drops_then_yt_dlp_continues(server, store, work, monkeypatch):
    server.pages["/video"] = Page(VIDEO, drops=[400_000])
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video")))

    assert store.get(fetch(ID, store, work).source_key) == VIDEO
    assert [request.range_header for request in server.requests] == ["", "bytes=400000-"]


def test_fetch_when_killed_in_the_middle_then_the_same_call_continues(server, store, work, monkeypatch):
    server.pages["/video"] = Page(VIDEO, block_seconds=0.004)
    script = (
        "import sys, json; from pathlib import Path; from gim.adapters.store_file import FileStore\n"
        "from yt_dlp.extractor.youtube import YoutubeIE; from gim.video.config import SourceConfig\n"
        "from gim.video.sources.fetch import fetch_source; from gim.video.sources.expand import Source\n"
        "YoutubeIE._real_extract = lambda self, url: json.loads(sys.argv[1])\n"
        "store, source = FileStore(Path(sys.argv[3])), Source(sys.argv[2], 'youtube', sys.argv[2])\n"
        "fetch_source(source, store, SourceConfig(allow_private_addresses=True), work_dir=Path(sys.argv[4]))\n"
    )
    arguments = [json.dumps(page_of(server.url("/video"))), ID, str(store.root), str(work)]
    process = subprocess.Popen([sys.executable, "-c", script, *arguments])
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in work.glob("*.part")) < 200_000:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(store.list()) == []

    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video")))
    assert store.get(fetch(ID, store, work).source_key) == VIDEO
    assert server.requests[-1].range_header.startswith("bytes=")
    assert list(work.iterdir()) == []


def test_fetch_when_the_format_changes_between_two_calls_then_bytes_are_not_mixed(server, store, work, monkeypatch):
    server.pages["/video"] = Page(VIDEO, ranges=False, drops=[400_000] * 9)
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video")))
    with pytest.raises(Unavailable):
        fetch(ID, store, work)
    other = page_of(server.url("/other"))
    other["formats"] = [{**other["formats"][1], "format_id": "136", "height": 720, "width": 1280}]
    server.pages["/other"] = Page(VIDEO[:12] + bytes(700_000))
    answer_with(monkeypatch, YoutubeIE, other)

    assert store.get(fetch(ID, store, work).source_key) == VIDEO[:12] + bytes(700_000)
    assert list(work.iterdir()) == []


def test_fetch_when_only_fragments_are_offered_then_joined_without_ffmpeg(server, store, work, monkeypatch):
    listing = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/0.ts\n#EXTINF:2,\n/1.ts\n#EXT-X-ENDLIST\n"
    server.pages["/list.m3u8"] = Page(listing.encode(), content_type="application/vnd.apple.mpegurl")
    server.pages["/0.ts"] = Page(VIDEO[:700_000], answers=[(500, {})])
    server.pages["/1.ts"] = Page(VIDEO[700_000:])
    page = page_of(server.url("/list.m3u8"))
    page["formats"] = [{**page["formats"][1], "protocol": "m3u8_native"}]
    answer_with(monkeypatch, YoutubeIE, page)
    monkeypatch.setenv("PATH", "")

    assert store.get(fetch(ID, store, work).source_key) == VIDEO
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("changes", [{}, {"filesize": 10**12}])
def test_fetch_when_larger_than_allowed_then_refused(server, store, work, monkeypatch, changes):
    page = page_of(server.url("/video"))
    page["formats"][1] |= changes
    answer_with(monkeypatch, YoutubeIE, page)

    with pytest.raises(InvalidInput, match=r"source\.max_bytes"):
        fetch(ID, store, work, replace(CONFIG, max_bytes=1_000_000))
    assert list(store.list()) == []


@pytest.mark.parametrize("status", ["is_live", "is_upcoming"])
def test_fetch_when_live_then_refused(server, store, work, monkeypatch, status):
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video"), live_status=status))

    with pytest.raises(InvalidInput, match="live stream"):
        fetch(ID, store, work)
    assert server.requests == []


@pytest.mark.parametrize(
    "refusal",
    [
        (
            ExtractorError("Private video. Sign in if you've been granted access", expected=True),
            NotOffered,
            "Private",
        ),
        (ExtractorError("Join this channel to get access to members-only content", expected=True), NotOffered, "Join"),
        (ExtractorError("Premieres in 3 hours", expected=True), NotOffered, "Premieres"),
        (ExtractorError("Sign in to confirm your age", expected=True), NotOffered, "age"),
        (ExtractorError("Video unavailable. This video has been removed", expected=True), NotOffered, "removed"),
        (GeoRestrictedError("not available in your country", countries=["DE"]), NotOffered, "country"),
        (ExtractorError("Sign in to confirm you’re not a bot", expected=True), Unavailable, "not a bot"),
        (ExtractorError("This content isn't available, try again later", expected=True), Unavailable, "try again"),
        (ExtractorError("Did not get any data blocks", expected=True), Unavailable, "cannot download"),
        (ExtractorError("Unable to extract yt initial data"), InvalidInput, "a newer one may"),
    ],
)
def test_fetch_when_youtube_refuses_then_one_line_of_the_right_kind(store, work, monkeypatch, refusal):
    thrown, kind, message = refusal
    answer_with(monkeypatch, YoutubeIE, thrown)

    with pytest.raises(kind, match=message) as raised:
        fetch(ID, store, work)
    assert "\n" not in str(raised.value)
    assert f"yt-{ID}: " in str(raised.value)
    assert type(raised.value) is kind


@pytest.mark.parametrize("refusal", [(404, InvalidInput), (410, InvalidInput), (403, Unavailable), (503, Unavailable)])
def test_fetch_when_the_file_server_refuses_then_one_line_of_the_right_kind(server, store, work, monkeypatch, refusal):
    status, kind = refusal
    server.pages["/video"] = Page(VIDEO, answers=[(status, {})] * 9)
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video")))

    with pytest.raises(kind, match=f"YouTube answered {status}"):
        fetch(ID, store, work)
    assert list(store.list()) == []


@pytest.mark.parametrize(
    "text", [ID, "ytsearch2:walk in tokyo", "https://www.youtube.com/playlist?list=PLabcdefghijkl"]
)
def test_everything_when_there_is_no_network_then_unavailable_in_one_line(store, work, monkeypatch, text, capfd):
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)

    with pytest.raises(Unavailable, match="cannot reach YouTube") as raised:
        fetch(text, store, work)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_fetch_when_no_format_has_pictures_then_invalid(server, store, work, monkeypatch):
    page = page_of(server.url("/video"))
    answer_with(monkeypatch, YoutubeIE, {**page, "formats": page["formats"][:1]})

    missing = find_javascript().missing
    with pytest.raises(InvalidInput, match="no format of it can be downloaded") as raised:
        fetch(ID, store, work)
    assert missing in str(raised.value)


def entries_of(*entries: dict[str, Any]) -> dict[str, Any]:
    videos = [
        {"_type": "url", "ie_key": "Youtube", "url": f"https://www.youtube.com/watch?v={e['id']}", **e} for e in entries
    ]
    return {"_type": "playlist", "id": "PLabcdefghijkl", "title": "Walks", "entries": videos}


PLAYLIST = entries_of(
    {"id": "AAAAAAAAAAA", "title": "one"},
    {"id": "BBBBBBBBBBB", "title": "[Private video]"},
    {"id": "CCCCCCCCCCC", "title": "[Deleted video]"},
    {"id": "DDDDDDDDDDD", "title": "now", "live_status": "is_live"},
    {"id": "EEEEEEEEEEE", "title": "members", "availability": "subscriber_only"},
    {"id": "UCxxxxxxxxxxxxxxxxxxxxxx", "title": "a channel", "ie_key": "YoutubeTab"},
    {"id": "FFFFFFFFFFF", "title": "two"},
    {"id": "GGGGGGGGGGG", "title": "three"},
)


def test_expand_when_given_a_playlist_then_keeps_order_and_labels_what_it_skips(monkeypatch):
    asked = answer_with(monkeypatch, YoutubeTabIE, PLAYLIST)
    skipped: list[SkippedSource] = []

    sources = list(expand_source("PLabcdefghijkl", CONFIG, on_skip=skipped.append))

    assert asked == ["https://www.youtube.com/playlist?list=PLabcdefghijkl"]
    assert [source.location for source in sources] == ["AAAAAAAAAAA", "FFFFFFFFFFF", "GGGGGGGGGGG"]
    assert [skip.reason for skip in skipped] == ["private", "deleted", "live", "members_only", "not_a_video"]
    assert all(next(expand_source(source.text, CONFIG)) == source for source in sources)


def test_expand_when_nobody_listens_then_what_is_skipped_is_raised_after_the_rest(monkeypatch):
    answer_with(monkeypatch, YoutubeTabIE, PLAYLIST)
    expansion = expand_source("PLabcdefghijkl", CONFIG)

    assert [next(expansion).location for _ in range(3)] == ["AAAAAAAAAAA", "FFFFFFFFFFF", "GGGGGGGGGGG"]
    with pytest.raises(InvalidInput, match=r"yt-BBBBBBBBBBB .* cannot be taken: private \(and 4 more\)"):
        next(expansion)


def test_expand_when_a_list_is_long_then_capped(monkeypatch):
    entries = [{"id": f"{i:011d}", "title": "x"} for i in range(50)]
    answer_with(monkeypatch, YoutubeTabIE, entries_of(*entries))

    skipped: list[SkippedSource] = []
    sources = list(expand_source("@walker", replace(CONFIG, max_videos=7), on_skip=skipped.append))

    assert [source.location for source in sources] == [f"{i:011d}" for i in range(7)]
    assert [skip.reason for skip in skipped] == ["over_max_videos"]
    assert "source.max_videos=7" in str(skipped[0].error)
    answer_with(monkeypatch, YoutubeTabIE, entries_of(*entries))
    all_of_it = list(expand_source("@walker", replace(CONFIG, max_videos=50)))
    assert len(all_of_it) == 50


def test_expand_when_searching_then_yt_dlp_gets_words_and_number(monkeypatch):
    asked = answer_with(monkeypatch, YoutubeSearchIE, entries_of({"id": "AAAAAAAAAAA", "title": "one"}))

    (source,) = expand_source("ytsearch5:walk  in tokyo; rm -rf /", CONFIG)

    assert asked == ["ytsearch5:walk in tokyo; rm -rf /"]
    assert source.location == "AAAAAAAAAAA"


def test_expand_when_the_playlist_is_gone_then_invalid(monkeypatch):
    answer_with(monkeypatch, YoutubeTabIE, ExtractorError("The playlist does not exist.", expected=True))

    with pytest.raises(InvalidInput, match="The playlist does not exist"):
        list(expand_source("PLabcdefghijkl", CONFIG))


def test_client_when_opened_then_only_youtube_and_nothing_from_outside(monkeypatch, tmp_path):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "yt-dlp").mkdir()
    (tmp_path / "yt-dlp" / "config").write_text("--exec touch /tmp/never\n")
    with yt_dlp.YoutubeDL(client_options(CONFIG)) as client:
        names = {extractor.IE_NAME for extractor in client._ies.values()}
        assert names == {"youtube", "youtube:tab", "youtube:playlist", "youtube:search"}
        assert not any(client._pps.values())
        assert client.proxies == {"all": "__noproxy__"}
        assert not list(client.cookiejar)
        with pytest.raises(yt_dlp.utils.DownloadError, match="No suitable extractor"):
            client.extract_info("https://example.com/video.mp4", download=False)


def test_client_when_a_plugin_lies_on_the_path_then_it_is_not_run(tmp_path):
    plugin = tmp_path / "yt_dlp_plugins" / "extractor" / "evil.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    script = "from gim.video.sources import youtube as y; from gim.video.config import SourceConfig as C\n"
    opened = script + "with y._client(C()): pass\n"
    control = "import yt_dlp\nwith yt_dlp.YoutubeDL({}): pass\n"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    subprocess.run([sys.executable, "-c", opened], env=environment, check=True)
    assert not (tmp_path / "ran").exists()
    subprocess.run([sys.executable, "-c", control], env=environment, check=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_fetch_when_the_disk_fills_up_then_unavailable_in_one_line(server, store, work, monkeypatch):
    monkeypatch.setattr(OpenVideo, "_format_hash", lambda _: "00000000")
    answer_with(monkeypatch, YoutubeIE, page_of(server.url("/video")))
    work.mkdir()
    (work / f"yt-{ID}-00000000.video.part").symlink_to("/dev/full")

    with pytest.raises(DiskFull, match="no space left on the disk"):
        fetch(ID, store, work)
    assert list(store.list()) == []
