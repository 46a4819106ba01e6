"""Asks a cluster for videos: one `VideoRequested` per source. Nothing is looked up here; that is the downloader's."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gim import keys
from gim.errors import InvalidInput
from gim.ports.bus import Bus
from gim.transfer.urls import normalise_url
from gim.video.sources.expand import split_licence
from gim.video.sources.youtube_urls import YouTubeVideo, read_youtube
from gim.wire import topics
from gim.wire.v1 import events_pb2

_FLUSH_EVERY = 1000  # requests held in memory
_SEARCH_RESULTS = 1000  # the downloader's own source.max_videos decides


@dataclass(frozen=True, slots=True)
class Request:
    """A source that can be asked for."""

    source: str  # as the downloader will read it
    key: str  # of its message: the same video, the same partition, where that can be told


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that cannot, and why."""

    source: str
    error: str


def read_requests(
    sources: Iterable[str], *, mounted: bool = False, folder: Path | None = None
) -> tuple[list[Request], list[Refusal]]:
    """What of these sources can be asked for, each once, and what cannot.

    Args:
        sources: as `gim run` takes them: URLs, YouTube ids, playlists, channels, searches.
        mounted: whether the downloader sees the files of this machine under the same paths.
        folder: that relative paths are relative to.
    """
    found: dict[str, Request] = {}
    refused: list[Refusal] = []
    for source in sources:
        try:
            request = _read(source, mounted=mounted, folder=folder or Path())
        except InvalidInput as error:
            refused.append(Refusal(source, str(error)))
        else:
            found.setdefault(request.source, request)
    return list(found.values()), refused


def read_source_list(text: str) -> list[str]:
    """The sources in a text: one per line, blank lines and `#` comments aside."""
    lines = (line.strip() for line in text.lstrip("\ufeff").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def publish_requests(bus: Bus, requests: Sequence[Request], *, now: Callable[[], float] = time.time) -> None:
    """Publish requests durably.

    Args:
        bus: where to.
        requests: to publish; one that was published before costs the downloader a look into the store.
        now: the clock. A request made after a purge of its video brings the video back.

    Raises:
        ConfigError: there is no ingest topic.
        Unavailable: the bus cannot take them; the same call again does no harm.
    """
    for number, request in enumerate(requests, start=1):
        event = events_pb2.VideoRequested(source=request.source, requested_at_ms=int(now() * 1000))
        headers = {"gim-type": event.DESCRIPTOR.full_name, "gim-producer": "publish"}
        bus.publish(topics.INGEST, request.key, event.SerializeToString(deterministic=True), headers)
        if number % _FLUSH_EVERY == 0:
            bus.flush()
    bus.flush()


def _read(source: str, *, mounted: bool, folder: Path) -> Request:
    if not source.strip() or not source.isprintable():
        raise InvalidInput(f"{source[:80]!r}: is empty, or holds control characters or bytes that are not UTF-8")
    bare, licence = split_licence(source)
    on_youtube = read_youtube(bare, _SEARCH_RESULTS)
    if isinstance(on_youtube, YouTubeVideo):
        return Request(source, keys.youtube_video_id(on_youtube.youtube_id))
    if on_youtube is not None:
        return Request(source, bare)
    if "://" in bare:
        return Request(source, normalise_url(bare))
    if not mounted:
        raise InvalidInput(
            f"{bare[:120]!r}: no URL or YouTube id, and a file of this machine is not seen by the downloader; "
            "--mounted says that it is, under the same path"
        )
    path = str((folder / Path(bare).expanduser()).absolute())
    return Request(f'{path} licence="{licence}"' if licence else path, path)
