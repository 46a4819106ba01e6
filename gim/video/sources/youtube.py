"""YouTube through yt-dlp as a library: lists are expanded flat, one video is opened, judged and downloaded.

yt-dlp gets the YouTube extractors only, no configuration files, plugins, proxies, cookies, netrc, external downloaders
or post-processors, connects where `youtube_network` lets it, and writes to names made here. Everything it throws leaves
as one of the project's errors.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gim.errors import GimError, InvalidInput, NotOffered, Unavailable
from gim.records import Provenance
from gim.transfer.download import Progress
from gim.video.config import SourceConfig
from gim.video.sources.formats import format_chooser
from gim.video.sources.library import tool_versions
from gim.video.sources.licence import UNKNOWN
from gim.video.sources.sniff import refuse_text, video_extension
from gim.video.sources.youtube_faults import as_gim_error
from gim.video.sources.youtube_runtime import RUNTIMES

if TYPE_CHECKING:
    import yt_dlp

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_NO_PICTURE = {"[Private video]": "private", "[Deleted video]": "deleted"}
OVER_MAX_VIDEOS = "over_max_videos"
_NO_PROGRAM = f"{os.devnull}/no-ffmpeg"  # a path that cannot exist
_NOT_OVER = frozenset({"is_live", "is_upcoming", "post_live"})
_AVAILABILITY = {  # yt-dlp's words, and the labels of `NotOffered`
    "private": "private",
    "premium_only": "paid",
    "subscriber_only": "members_only",
    "needs_auth": "age_restricted",
}


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One entry of a playlist, channel or search; `unavailable` is empty, or why it cannot be taken."""

    youtube_id: str
    title: str
    unavailable: str = ""


class OpenVideo:
    """A video whose page was read and whose format was chosen, not downloaded yet."""

    def __init__(self, client: "yt_dlp.YoutubeDL", youtube_id: str, info: dict[str, Any], config: SourceConfig) -> None:
        self._client = client
        self._youtube_id = youtube_id
        self._info = info
        self._config = config
        self.extension = video_extension(f"video.{info.get('ext') or ''}")
        self.provenance = Provenance(
            source=_watch_url(youtube_id),
            resolved=_watch_url(youtube_id),
            licence=" ".join((info.get("license") or UNKNOWN).split()),
            uploader=str(info.get("uploader") or info.get("channel") or ""),
            title=str(info.get("title") or ""),
            tools=tool_versions("yt-dlp"),
        )

    def download(self, work_dir: Path, report: Progress) -> Path:
        """Download the chosen format, continuing what an earlier call left, and return the complete file.

        Raises:
            InvalidInput: it is larger than `max_bytes`, or gone.
            Unavailable: network, YouTube or disk cannot now.
        """
        path = work_dir / f"yt-{self._youtube_id}-{self._format_hash()}.video"
        _refuse_large(self._youtube_id, self._info.get("filesize") or 0, self._config)

        def watch(state: dict[str, Any]) -> None:
            done, total = int(state.get("downloaded_bytes") or 0), int(state.get("total_bytes") or 0)
            _refuse_large(self._youtube_id, max(done, total), self._config)
            report(done, total)

        self._client.add_progress_hook(watch)
        try:
            with _faults_named(self._youtube_id):
                complete, _ = self._client.dl(str(path), self._info)
            if not complete:
                raise Unavailable(f"yt-{self._youtube_id}: the download stopped before its end")
            refuse_text(path, f"yt-{self._youtube_id}")
        except InvalidInput:
            discard(self._youtube_id, work_dir)
            raise
        return path

    def _format_hash(self) -> str:
        """Distinguishes formats, so that bytes of one are never continued with bytes of another."""
        parts = [str(self._info.get(name)) for name in ("format_id", "vcodec", "height", "fps", "filesize")]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


@contextmanager
def open_video(youtube_id: str, config: SourceConfig) -> Iterator[OpenVideo]:
    """Read a video's page and choose its format; nothing is downloaded yet.

    Args:
        youtube_id: 11 characters.
        config: format, patience and limits.

    Raises:
        NotOffered: private, removed, blocked here, still live.
        InvalidInput: without a format that can be taken.
        Unavailable: YouTube or the network cannot now.
    """
    with _client(config) as client:
        with _faults_named(youtube_id):
            info = client.extract_info(_watch_url(youtube_id), download=False, ie_key="Youtube")
        if not info or info.get("id") != youtube_id or info.get("_type", "video") != "video":
            raise InvalidInput(f"yt-{youtube_id}: YouTube answered with another video or none")
        if info.get("live_status") in _NOT_OVER:
            raise NotOffered(f"yt-{youtube_id}: is a live stream that is not over yet", "live")
        yield OpenVideo(client, youtube_id, info, config)


def list_entries(address: str, config: SourceConfig) -> Iterator[ListEntry]:
    """The first `max_videos` entries of a playlist, channel or search, in order; one more says that it goes on.

    Raises:
        InvalidInput: there is no such list.
        Unavailable: YouTube or the network cannot now.
    """
    with _client(config) as client:
        with _faults_named(address):
            info = client.extract_info(address, download=False) or {}
            entries = list(info["entries"]) if "entries" in info else [info]
    for entry in entries[: config.max_videos]:
        yield _read_entry(entry or {})
    if len(entries) > config.max_videos:
        yield ListEntry("", "", OVER_MAX_VIDEOS)


def discard(youtube_id: str, work_dir: Path) -> None:
    """Remove what downloads of a video left in the work directory."""
    for path in work_dir.glob(f"yt-{youtube_id}-*.video*"):
        path.unlink(missing_ok=True)


def client_options(config: SourceConfig) -> dict[str, Any]:
    """Everything yt-dlp is told."""

    def wait_seconds(n: int) -> float:  # yt-dlp passes it by this name
        return min(config.first_wait_seconds * 2.0**n, config.max_wait_seconds)

    return {
        "allowed_extractors": ["youtube", "youtube:(?:tab|playlist|search)"],
        "format": format_chooser(config.max_height),
        "extract_flat": "in_playlist",
        "playlistend": config.max_videos + 1,
        "noplaylist": True,
        "continuedl": True,
        "fixup": "never",
        "hls_prefer_native": True,
        "ffmpeg_location": _NO_PROGRAM,  # it would take over lists that yt-dlp cannot read, and connect by itself
        "skip_unavailable_fragments": False,
        "socket_timeout": config.timeout_seconds,
        "retries": config.max_attempts - 1,
        "fragment_retries": config.max_attempts - 1,
        "extractor_retries": min(config.max_attempts - 1, 2),  # of each of several pages
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), wait_seconds),
        "proxy": "",  # none, not even the environment's
        "cachedir": False,
        "js_runtimes": {name: {} for name in RUNTIMES},
        "updatetime": False,
        "logger": _Silence(),
        "noprogress": True,
        "color": "never",
    }


class _Silence:
    """What yt-dlp has to say comes as an exception, or not at all: stdout and stderr are ours."""

    def debug(self, message: str) -> None:
        pass

    info = warning = error = debug


@contextmanager
def _client(config: SourceConfig) -> "Iterator[yt_dlp.YoutubeDL]":
    # A second to import and needed by few: not at the top.
    from yt_dlp.globals import plugin_dirs  # noqa: PLC0415

    from gim.video.sources.youtube_network import GuardedClient  # noqa: PLC0415

    plugin_dirs.value = []  # its only switch against running any `yt_dlp_plugins` that lie on the path
    allow_private = config.allow_private_addresses
    with GuardedClient(client_options(config), allow_private_addresses=allow_private) as client:
        yield client


@contextmanager
def _faults_named(name: str) -> Iterator[None]:
    from yt_dlp.utils import YoutubeDLError  # noqa: PLC0415

    shown = f"yt-{name}" if _YOUTUBE_ID.fullmatch(name) else name
    try:
        yield
    except GimError:
        raise
    except (YoutubeDLError, OSError) as error:
        raise as_gim_error(error, shown) from error


def _read_entry(entry: dict[str, Any]) -> ListEntry:
    youtube_id, title = str(entry.get("id") or ""), str(entry.get("title") or "")
    if not _YOUTUBE_ID.fullmatch(youtube_id):
        return ListEntry(youtube_id, title, "not_a_video")
    if entry.get("live_status") in _NOT_OVER:
        return ListEntry(youtube_id, title, "live")
    unavailable = _AVAILABILITY.get(str(entry.get("availability"))) or _NO_PICTURE.get(title, "")
    return ListEntry(youtube_id, title, unavailable)


def _refuse_large(youtube_id: str, num_bytes: int, config: SourceConfig) -> None:
    if num_bytes > config.max_bytes:
        raise InvalidInput(
            f"yt-{youtube_id}: has {num_bytes} bytes or more, over source.max_bytes ({config.max_bytes})"
        )


def _watch_url(youtube_id: str) -> str:
    return f"https://www.youtube.com/watch?v={youtube_id}"
