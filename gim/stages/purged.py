"""Keeps a purged video out: whatever a late message about it would bring back is not made, or removed again.

A purge leaves a mark in the Store, and then removes. Every stage looks for the mark before its work and once more after
its last write. So what is written while a purge is at work is removed by the one or the other, and nothing of the video
is left in the end, however long the work took. The mark is lifted when a person asks for the video again: by a
`VideoRequested` that says it was made after the purge.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from gim import codecs, keys
from gim.errors import GimError, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.transfer.urls import normalise_url
from gim.video.sources.expand import split_licence
from gim.video.sources.library import source_alias_keys
from gim.video.sources.youtube_urls import YouTubeVideo, read_youtube
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

Produced = list[tuple[str, Event]]

# What each stage writes of a video, and so may have to take back: a service's key to the Store may remove no more.
_WRITTEN_BY: dict[str, tuple[Callable[[str], str], ...]] = {
    "ingest": (keys.video_prefix, keys.frames_prefix),
    "label": (keys.labels_prefix, keys.failures_prefix, keys.features_prefix, keys.masks_prefix),
    "propagate": (keys.pairs_prefix, keys.features_prefix, keys.masks_prefix),
}


@dataclass(frozen=True, slots=True)
class PurgeMark:
    """That a video was purged, and is to stay away until somebody asks for it again."""

    video_id: str
    purged_at_ms: int  # Unix milliseconds


@dataclass(frozen=True, slots=True)
class PurgedSource:
    """Where a source led whose video was purged."""

    video_id: str


class VideoPurged(GimError):
    """A message is about a video that was purged: nothing is done, and nothing is wrong."""


def mark_purged(store: Store, video_id: str, at_ms: int, sources: Iterable[str] = ()) -> None:
    """Keep a video out from now on.

    Args:
        store: of the video.
        video_id: of the video.
        at_ms: now, Unix milliseconds.
        sources: all texts known to lead to it, so that a late request for one of them is not even fetched.
    """
    for source in sources:
        store.put(keys.purged_source(source), codecs.to_json(PurgedSource(video_id)))
    store.put(keys.purge_mark(video_id), codecs.to_json(PurgeMark(video_id, at_ms)))


def is_purged(store: Store, video_id: str) -> bool:
    """Whether a video was purged and not asked for again since; one question to the Store."""
    return store.exists(keys.purge_mark(video_id))


class PurgeGuard:
    """Stands around the work of every stage on one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def guard(self, stage_name: str, event: Event, work: Callable[[], Produced]) -> Produced:
        """The result of a stage's work on an event.

        Args:
            stage_name: `Stage.name`; says what it may have written.
            event: that it works on.
            work: does all of it.

        Raises:
            VideoPurged: the event is about a purged video; nothing of this work is left in the Store.
            Exception: whatever the work raises, unless its video was purged meanwhile.
        """
        self._refuse_purged(stage_name, event, self._named(event))
        try:
            produced = work()
        except Exception:
            self._refuse_purged(stage_name, event, self._named(event))  # rather: its objects went from under it
            raise
        self._refuse_purged(stage_name, event, self._named(event) | _about(produced))
        return produced

    def _named(self, event: Event) -> set[str]:
        """The videos that an event names, or that its source led to before they were purged."""
        if not isinstance(event, events_pb2.VideoRequested):
            return _valid({getattr(event, "video_id", "")})
        names = {event.source, _youtube_id(event.source)}
        for source in {event.source, _url(event.source)} - {""}:
            with suppress(KeyMissing):
                names.add(codecs.from_json(PurgedSource, self._store.get(keys.purged_source(source))).video_id)
        return _valid(names)

    def _refuse_purged(self, stage_name: str, event: Event, video_ids: Iterable[str]) -> None:
        for video_id in video_ids:
            if is_purged(self._store, video_id) and not self._is_wanted_again(video_id, event):
                self._take_back(stage_name, video_id)
                raise VideoPurged(f"{video_id}: was purged; `gim publish` its source to have it back")

    def _is_wanted_again(self, video_id: str, event: Event) -> bool:
        """Whether the event was asked for after the purge; then the mark is lifted."""
        try:
            mark = codecs.from_json(PurgeMark, self._store.get(keys.purge_mark(video_id)))
        except KeyMissing:  # lifted since we looked
            return True
        if getattr(event, "requested_at_ms", 0) <= mark.purged_at_ms:
            return False
        self._store.delete(keys.purge_mark(video_id))
        return True

    def _take_back(self, stage_name: str, video_id: str) -> None:
        for prefix_of in _WRITTEN_BY.get(stage_name, ()):
            for key in list(self._store.list(prefix_of(video_id))):
                self._store.delete(key)
        if stage_name == "ingest":
            for key in source_alias_keys(self._store, video_id):
                self._store.delete(key)


def _about(produced: Produced) -> set[str]:
    return _valid({getattr(event, "video_id", "") for _, event in produced})


def _valid(names: set[str]) -> set[str]:
    return {name for name in names if keys.is_video_id(name)}


def _youtube_id(source: str) -> str:
    try:
        found = read_youtube(split_licence(source)[0], 1)
    except InvalidInput:
        return ""
    return keys.youtube_video_id(found.youtube_id) if isinstance(found, YouTubeVideo) else ""


def _url(source: str) -> str:
    """As aliases are named by it; empty for what is no URL."""
    try:
        return normalise_url(split_licence(source)[0])
    except InvalidInput:
        return ""
