"""Removes every trace of a video from the store of a cluster, while its services go on working.

Order: the record of what is about to go; the mark that keeps the video out (see `gim.stages.purged`); dead letters that
speak of it are settled; then everything else, manifests first, again and again until nothing has come back for a
while. What a service still writes after that it removes itself, because it finds the mark. Messages cannot be taken out
of a topic: those that speak of the video find the mark too, and have no effect.

After a crash at any point the same command finds the rest and completes the same record.
"""

import datetime
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from gim import codecs, keys
from gim.errors import Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.runtime.dead import PURGED, Letter, drop, read_letters
from gim.runtime.purge import (
    PurgeResult,
    Trace,
    begin_record,
    finish_record,
    is_description,
    made_of,
    num_bytes,
    object_traces,
    purged_before,
)
from gim.runtime.queue import youtube_video_id
from gim.stages.purged import is_purged, mark_purged
from gim.video.sources.library import SourceAlias, find_video, source_alias_keys

GRACE_SECONDS = 10.0
_MOST_GRACES = 12  # then something works on the video that does not know of purges
_LOOK_SECONDS = 0.5
_AT_ONCE = 16  # requests to the store


def purge_from_cluster(
    store: Store,
    bus: Bus,
    video_id: str,
    *,
    grace_seconds: float = GRACE_SECONDS,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> PurgeResult:
    """Remove every trace of a video, and keep it out until a person asks for it again.

    Args:
        store: of the cluster.
        bus: of the cluster.
        video_id: of the video.
        grace_seconds: nothing of the video may have come back for so long.
        now: the clock, for the record and the mark.

    Returns:
        What was removed; nothing, with the time of the earlier purge, when there is nothing left.

    Raises:
        InvalidInput: no video id, or the cluster never had this video.
        Unavailable: a server is away, or objects keep coming back; the same command goes on.
    """
    planned = preview_purge_from_cluster(store, bus, video_id)
    if planned.purged_before:
        return planned
    key, record = begin_record(store, video_id, planned.removed, now(), planned.num_letters)
    names = _names_of(store, video_id)  # while there is something to say them
    if not is_purged(store, video_id):
        mark_purged(store, video_id, int(now().timestamp() * 1000), names - {video_id})
    settled = drop(bus, _letters_about(bus, names), how=PURGED)
    removed = _sweep(store, video_id, grace_seconds)
    settled += drop(bus, _letters_about(bus, names), how=PURGED)
    finish_record(store, key, record, now())
    return PurgeResult(video_id, removed, num_bytes(removed), made_of(store, video_id), key, num_letters=settled)


def preview_purge_from_cluster(store: Store, bus: Bus, video_id: str) -> PurgeResult:
    """What `purge_from_cluster` would do, were it done now; nothing is touched.

    Raises:
        InvalidInput, Unavailable: as for `purge_from_cluster`.
    """
    aliases = [Trace(key, store.size(key)) for key in source_alias_keys(store, keys.validate_video_id(video_id))]
    traces = [*object_traces(store, video_id), *aliases]
    letters = _letters_about(bus, _names_of(store, video_id))
    before = purged_before(store, video_id, is_there=bool(traces or letters))
    return PurgeResult(
        video_id, traces, num_bytes(traces), made_of(store, video_id), "", before, num_letters=len(letters)
    )


def _sweep(store: Store, video_id: str, grace_seconds: float) -> list[Trace]:
    """Remove until nothing has come back for the grace; returns all that was there."""
    removed: dict[str, Trace] = {}
    given_up = time.monotonic() + max(_MOST_GRACES * grace_seconds, 60.0)
    quiet_since = time.monotonic()
    while True:
        found = object_traces(store, video_id)
        if found:
            _delete(store, [trace.name for trace in found])
            removed |= {trace.name: trace for trace in found}
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= grace_seconds:
            break
        if found and time.monotonic() > given_up:
            raise Unavailable(f"{video_id}: objects of it keep coming back, the last {found[0].name}: what makes them?")
        time.sleep(min(_LOOK_SECONDS, grace_seconds))
    for key in source_alias_keys(store, video_id):  # last: they lead to it
        removed[key] = Trace(key, store.size(key))
        store.delete(key)
    return list(removed.values())


def _delete(store: Store, names: Sequence[str]) -> None:
    """Remove objects, what describes others before the others, so that nobody takes a part for the whole."""
    ordered = sorted(names, key=lambda name: not is_description(name))
    with ThreadPoolExecutor(_AT_ONCE) as requests:
        for _, together in groupby(ordered, key=is_description):
            list(requests.map(store.delete, together))


def _names_of(store: Store, video_id: str) -> set[str]:
    """The id of a video, and the sources known to lead to it."""
    meta = find_video(store, video_id)
    sources = {meta.provenance.source} if meta is not None else set()
    sources |= {codecs.from_json(SourceAlias, store.get(key)).url for key in source_alias_keys(store, video_id)}
    return {video_id} | sources


def _letters_about(bus: Bus, names: Iterable[str]) -> list[Letter]:
    """Dead letters that speak of a video under one of its names."""
    return [letter for letter in read_letters(bus) if _is_about(letter, names)]


def _is_about(letter: Letter, names: Iterable[str]) -> bool:
    source = str(letter.event.get("source", ""))
    about = {letter.key, source, str(letter.event.get("video_id", "")), youtube_video_id(source)} - {""}
    return not about.isdisjoint(names)
