"""Reads what the user calls a source and says which single videos it stands for. Transfers none of them.

One source is a file, a folder, the http(s) URL of a video file, or a YouTube id, URL, `@handle` or search; or a text
file (`.txt`, `.list`) with one source per line, blank lines and `#` comments aside. A source may declare the licence
its user knows of, after white space: `https://example.org/walk.mp4 licence="CC BY 4.0"`. Relative paths in a list are
relative to the list.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gim.errors import GimError, InvalidInput, NotOffered
from gim.transfer.urls import normalise_url
from gim.video.config import SourceConfig
from gim.video.sources import local, youtube
from gim.video.sources.sniff import refuse_text
from gim.video.sources.youtube_urls import YouTubeVideo, read_youtube

_LIST_SUFFIXES = frozenset({".txt", ".list"})
_MAX_LIST_BYTES = 16 * 2**20
_MAX_TEXT_CHARACTERS = 8192
_DECLARED = re.compile(r"(?P<text>.*\S)\s+licen[cs]e=(?P<quote>[\"'])(?P<licence>[^\"']+)(?P=quote)\s*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Source:
    """One video that can be fetched. `text` alone, expanded again, gives the same source."""

    text: str
    kind: Literal["file", "http", "youtube"]
    location: str  # absolute path, normalised URL, or YouTube id
    licence: str = ""  # declared by the user
    is_listed: bool = field(default=False, compare=False)  # an entry of a playlist, channel or search: nobody named it


@dataclass(frozen=True, slots=True)
class SkippedSource:
    """A line of a list, or an entry of a playlist, that stands for no video that can be fetched.

    An entry that its site does not hand out has a `NotOffered` error; everything else is the user's to mend.
    """

    text: str
    reason: str  # a label to count by: `private`, `deleted`, `live`, `not_a_video`, ..., `invalid`, `unavailable`
    error: GimError


def expand_source(
    text: str, config: SourceConfig, *, on_skip: Callable[[SkippedSource], None] | None = None
) -> Iterator[Source]:
    """The single videos that a source stands for, in order; a file, a URL or an id stands for itself.

    Args:
        text: as the user gave it.
        config: `max_videos` caps playlists, channels and searches.
        on_skip: told of every line or entry that had to be left out, in its place. Without a listener nothing is lost
            in silence: after the last source the iterator raises the first such error.

    Raises:
        InvalidInput: the text is no source, or stands for no video at all.
        Unavailable: a playlist, channel or search cannot be read now.
    """
    skipped: list[SkippedSource] = []

    def skip(left_out: SkippedSource) -> None:
        skipped.append(left_out)
        if on_skip is not None:
            on_skip(left_out)

    found = 0
    for source in _expand(text, config, skip):
        found += 1
        yield source
    if skipped and on_skip is None:
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise _like(skipped[0].error, f"{skipped[0].error}{more}")
    if not found and not skipped:
        raise InvalidInput(f"{_shown(text)}: holds no video")


def _expand(text: str, config: SourceConfig, skip: Callable[[SkippedSource], None]) -> Iterator[Source]:
    path = _existing_path(text)
    if path is not None and path.suffix.lower() in _LIST_SUFFIXES and path.is_file():
        yield from _expand_list(path, config, skip)
    else:
        yield from _expand_one(text, config, skip)


def _expand_one(text: str, config: SourceConfig, skip: Callable[[SkippedSource], None]) -> Iterator[Source]:
    """Everything but a list of sources."""
    path = _existing_path(text)
    declared = _DECLARED.fullmatch(text) if path is None else None
    if declared is not None:
        for source in _expand_one(declared["text"], config, skip):
            stated = f'{source.text} licence="{declared["licence"]}"'
            yield replace(source, text=stated, licence=declared["licence"])
    elif path is not None:
        yield from _expand_path(text, path, config)
    elif (on_youtube := read_youtube(text, config.max_videos)) is not None:
        if isinstance(on_youtube, YouTubeVideo):
            yield Source(text, "youtube", on_youtube.youtube_id)
        else:
            yield from _expand_youtube_list(on_youtube.address, config, skip)
    elif _URL.match(text):
        yield Source(text, "http", normalise_url(text))
    else:
        what = "no such file or folder" if "/" in text or "." in text else "no file, URL or YouTube id"
        raise InvalidInput(f"{_shown(text)}: {what}")


def split_licence(text: str) -> tuple[str, str]:
    """A source as the user gave it, as the bare source and the licence declared after it, if any."""
    declared = _DECLARED.fullmatch(text)
    return (declared["text"], declared["licence"]) if declared else (text, "")


def _existing_path(text: str) -> Path | None:
    """The path that a text names, when something is there (a broken link included)."""
    if not text.strip() or len(text) > _MAX_TEXT_CHARACTERS:
        raise InvalidInput(f"{_shown(text)}: {'is too long' if text.strip() else 'is empty'}")
    if any(ord(character) < 32 for character in text):
        raise InvalidInput(f"{_shown(text)}: holds control characters; rename it")
    if _URL.match(text):
        return None
    try:
        path = Path(text).expanduser()
        return path if path.is_symlink() or path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name too long for the disk, a home that is not known
        return None


def _expand_path(text: str, path: Path, config: SourceConfig) -> Iterator[Source]:
    if path.suffix.lower() in _LIST_SUFFIXES and path.is_file():
        raise InvalidInput(f"{_shown(text)}: a list cannot name another list")
    if not path.is_dir():
        local.check_file(path, config.max_bytes)
        refuse_text(path, text)
        yield Source(text, "file", str(path.absolute()))
        return
    for video in local.list_videos(path):
        yield Source(str(video), "file", str(video.absolute()))


def _expand_list(path: Path, config: SourceConfig, skip: Callable[[SkippedSource], None]) -> Iterator[Source]:
    for number, line in enumerate(_read_lines(path, config), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            yield from _expand_one(_beside(path, text), config, skip)
        except GimError as error:
            reason = "invalid" if isinstance(error, InvalidInput) else "unavailable"
            skip(SkippedSource(text, reason, _like(error, f"{path}, line {number}: {error}")))


def _read_lines(path: Path, config: SourceConfig) -> list[str]:
    local.check_file(path, min(config.max_bytes, _MAX_LIST_BYTES))
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is not a UTF-8 text with one source per line") from error


def _beside(listing: Path, text: str) -> str:
    """A line's text, with a relative path made relative to the list's own folder."""
    declared = _DECLARED.fullmatch(text)
    bare = declared["text"] if declared else text
    candidate = listing.parent / bare
    if _URL.match(bare) or len(bare) > 255 or not candidate.exists():
        return text
    return f'{candidate} licence="{declared["licence"]}"' if declared else str(candidate)


def _expand_youtube_list(address: str, config: SourceConfig, skip: Callable[[SkippedSource], None]) -> Iterator[Source]:
    for entry in youtube.list_entries(address, config):
        name = f"yt-{entry.youtube_id}" if entry.youtube_id else address
        if entry.unavailable:
            line = f"{name} ({entry.title[:60]!r}) of {address} cannot be taken: {entry.unavailable}"
            if entry.unavailable == youtube.OVER_MAX_VIDEOS:
                line = f"{address}: lists more than source.max_videos={config.max_videos} videos: the rest is left out"
            skip(SkippedSource(name, entry.unavailable, NotOffered(line, entry.unavailable)))
        else:
            watch = f"https://www.youtube.com/watch?v={entry.youtube_id}"
            yield Source(watch, "youtube", entry.youtube_id, is_listed=True)


def _like(error: GimError, message: str) -> GimError:
    """An error of the same kind with another message."""
    return NotOffered(message, error.reason) if isinstance(error, NotOffered) else type(error)(message)


def _shown(text: str) -> str:
    return repr(text[:120])
