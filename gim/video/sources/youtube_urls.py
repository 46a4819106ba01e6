"""Reads YouTube addresses by pattern, before anything is started: only ids and paths of known form go any further.

What is given to yt-dlp is never the user's text, but an address rebuilt from what was read here.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from gim.errors import InvalidInput

_HOSTS = frozenset({"youtube.com", "youtu.be", "youtube-nocookie.com"})
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_LIST_ID = re.compile(r"[A-Za-z0-9_-]{2,64}")
_BARE_LIST_ID = re.compile(r"(?:PL|UU|FL|OL|RD)[A-Za-z0-9_-]{10,62}")
_CHANNEL = re.compile(r"(@[\w.·-]{3,30}|(?:channel|c|user)/[\w.-]{1,64})(?:/(videos|shorts|streams|featured))?/?")
_BARE_CHANNEL = re.compile(r"@[\w.·-]{3,30}|UC[A-Za-z0-9_-]{22}")
_SEARCH = re.compile(r"ytsearch(\d{0,4}|all):(.+)")
_VIDEO_PATH = re.compile(r"(?:shorts|embed|live|v|e)/([^/]*)/?")


@dataclass(frozen=True, slots=True)
class YouTubeVideo:
    """One video."""

    youtube_id: str


@dataclass(frozen=True, slots=True)
class YouTubeList:
    """A playlist, the videos of a channel, or a search: `address` is what yt-dlp is asked for."""

    address: str


def read_youtube(text: str, max_videos: int) -> YouTubeVideo | YouTubeList | None:
    """What a text means on YouTube: an id, a URL, `@handle`, `ytsearch5:words`; None when it means nothing there.

    Args:
        text: one source as the user gave it.
        max_videos: a search asks for no more.

    Raises:
        InvalidInput: it is meant for YouTube, but is no video, playlist, channel or search.
    """
    if search := _SEARCH.fullmatch(text):
        wanted = max_videos if search[1] == "all" else min(int(search[1] or 1), max_videos)
        return YouTubeList(f"ytsearch{wanted}:{' '.join(search[2].split())}")
    if text.startswith("ytsearch"):
        raise InvalidInput(f"{text[:80]!r} is no search: write ytsearch5:what to look for")
    if _is_youtube_url(text):
        return _read_url(text)
    bare = text.removeprefix("yt-") if len(text) == 14 else text
    if _VIDEO_ID.fullmatch(bare):
        return YouTubeVideo(bare)
    if _BARE_LIST_ID.fullmatch(text):
        return _playlist(text)
    if _BARE_CHANNEL.fullmatch(text):
        return _channel(text if text.startswith("@") else f"channel/{text}", "videos")
    return None


def _is_youtube_url(text: str) -> bool:
    match = re.match(r"(?:https?://)?(?:(?:www|m|music)\.)?([a-z-]+\.[a-z]+)(?::443)?/", text, re.IGNORECASE)
    return match is not None and match[1].lower() in _HOSTS


def _read_url(text: str) -> YouTubeVideo | YouTubeList:
    parts = urlsplit(text if "://" in text else f"https://{text}")
    query = parse_qs(parts.query)
    path = parts.path.strip("/")
    if (parts.hostname or "").endswith("youtu.be"):
        return _video(path, text)
    if "v" in query:
        return _video(query["v"][0], text)
    if (match := _VIDEO_PATH.fullmatch(path)) and match[1] != "videoseries":
        return _video(match[1], text)
    if "list" in query:
        if not _LIST_ID.fullmatch(query["list"][0]):
            raise InvalidInput(f"{text[:80]!r} holds no valid YouTube playlist id")
        return _playlist(query["list"][0])
    if match := _CHANNEL.fullmatch(path):
        return _channel(match[1], match[2] if match[2] in {"shorts", "streams"} else "videos")
    raise InvalidInput(f"{text[:80]!r} is not the address of a YouTube video, playlist or channel")


def _video(youtube_id: str, text: str) -> YouTubeVideo:
    if not _VIDEO_ID.fullmatch(youtube_id):
        raise InvalidInput(f"{text[:80]!r} holds no valid YouTube id: 11 characters of [A-Za-z0-9_-]")
    return YouTubeVideo(youtube_id)


def _playlist(list_id: str) -> YouTubeList:
    return YouTubeList(f"https://www.youtube.com/playlist?list={list_id}")


def _channel(path: str, tab: str) -> YouTubeList:
    return YouTubeList(f"https://www.youtube.com/{path}/{tab}")
