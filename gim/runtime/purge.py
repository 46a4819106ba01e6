"""Removes every trace of a video from a store, and leaves a record that says so.

Traces are the objects below the video's prefixes, the aliases that lead to it, what its downloads left, and the
folders of ended runs (their messages and logs name it). The record holds the id and counts, nothing of the content.

Order: the record of what is about to go is written first. Then manifests and meta, so that a reader finds the video
whole or not at all; then everything else, aliases after the downloads they name. Traces are found by prefix, not by
what is removed, so after a crash at any point the same command finds the rest and completes the same record.
"""

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from gim import codecs, keys
from gim.errors import InvalidInput, Unavailable
from gim.ports.store import Store
from gim.runtime.run_folder import remove_ended_runs, running_runs
from gim.transfer.download import discard
from gim.video.sources import youtube
from gim.video.sources.library import source_alias_keys

_DATASETS = "datasets/"
_DESCRIPTIONS = ("manifest.json", "meta.json")
_RUNS = ".run"


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing to remove."""

    name: str  # key, or path below the store's folder
    num_bytes: int


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """What the store keeps of a purge."""

    video_id: str
    started_at: str  # UTC, ISO 8601
    objects: dict[str, int] = field(default_factory=dict)  # kind (first part of the key) -> objects
    num_bytes: int = 0
    finished_at: str = ""  # empty: interrupted, the same command completes it


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What was, or would be, removed."""

    video_id: str
    removed: list[Trace]
    num_bytes: int
    datasets: list[str]  # that name the video, and are left as they are
    record: str  # key of the record; empty when nothing was done
    purged_before: str = ""  # when, if nothing is left to remove


def find_traces(store: Store, store_root: Path, video_id: str) -> list[Trace]:
    """Everything a purge of this video would remove, in that order.

    Raises:
        InvalidInput: no video id.
    """
    objects = [key for prefix in keys.everything_of(keys.validate_video_id(video_id)) for key in store.list(prefix)]
    aliases = source_alias_keys(store, video_id)
    first = sorted(objects, key=lambda key: PurePosixPath(key).name not in _DESCRIPTIONS)
    traces = [Trace(key, store.size(key)) for key in first]
    traces += [_file(path, store_root) for path in _downloads(store_root / ".downloads", video_id, aliases)]
    traces += [Trace(key, store.size(key)) for key in aliases]
    return traces + [_file(path, store_root) for path in _run_files(store_root, video_id)]


def purge_video(
    store: Store,
    store_root: Path,
    video_id: str,
    *,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> PurgeResult:
    """Remove every trace of a video.

    Args:
        store: the store.
        store_root: its folder.
        video_id: of the video.
        now: the clock, for the record.

    Returns:
        What was removed; nothing, with the time of the earlier purge, when there is nothing left.

    Raises:
        InvalidInput: no video id, or the store never had this video.
        Unavailable: a run works on the store now.
    """
    traces = find_traces(store, store_root, video_id)
    key, record = _open_record(store, video_id)
    if not traces and record is None:
        raise InvalidInput(f"{video_id}: the store holds nothing of it; see `gim ls`")
    if not traces and record is not None and record.finished_at:
        return PurgeResult(video_id, [], 0, _datasets_with(store, video_id), "", record.finished_at)
    _refuse_while_running(store_root)
    if record is None or record.finished_at:
        started = now()
        record = PurgeRecord(video_id, started.isoformat(timespec="seconds"), _kinds(traces), _bytes(traces))
        key = keys.purge_record(video_id, started.strftime("%Y%m%dT%H%M%S%f"))
        store.put(key, codecs.to_json(record))
    _remove(store, store_root, video_id, traces)
    store.put(key, codecs.to_json(replace(record, finished_at=now().isoformat(timespec="seconds"))))
    return PurgeResult(video_id, traces, _bytes(traces), _datasets_with(store, video_id), key)


def preview_purge(store: Store, store_root: Path, video_id: str) -> PurgeResult:
    """What `purge_video` would do; nothing is touched.

    Raises:
        InvalidInput: no video id, or the store never had this video.
    """
    traces = find_traces(store, store_root, video_id)
    _, record = _open_record(store, video_id)
    if not traces and record is None:
        raise InvalidInput(f"{video_id}: the store holds nothing of it; see `gim ls`")
    before = record.finished_at if record and not traces else ""
    return PurgeResult(video_id, traces, _bytes(traces), _datasets_with(store, video_id), "", before)


def _remove(store: Store, store_root: Path, video_id: str, traces: Iterable[Trace]) -> None:
    downloads = store_root / ".downloads"
    aliases = [trace.name for trace in traces if trace.name.startswith(keys.source_aliases_prefix())]
    for trace in traces:
        if not trace.name.startswith((keys.source_aliases_prefix(), ".")):
            store.delete(trace.name)
    if video_id.startswith("yt-"):
        youtube.discard(video_id.removeprefix("yt-"), downloads)
    for alias in aliases:
        discard(downloads / f"{PurePosixPath(alias).stem}.part")
        store.delete(alias)
    remove_ended_runs(store_root)


def _downloads(folder: Path, video_id: str, aliases: Iterable[str]) -> list[Path]:
    """What unfinished downloads of a video have left: named by its id, or by the hash of a URL that led to it."""
    stems = [f"{PurePosixPath(alias).stem}.part" for alias in aliases]
    found = [path for stem in stems for path in folder.glob(f"{stem}*")]
    return sorted([*found, *folder.glob(f"{video_id}*")])


def _run_files(store_root: Path, video_id: str) -> list[Path]:
    """Files of ended runs that name the video."""
    running = set(running_runs(store_root))
    found = []
    for path in sorted((store_root / _RUNS).glob("*/**/*")):
        if path.relative_to(store_root / _RUNS).parts[0] not in running and path.is_file():
            with path.open("rb") as file:
                if any(video_id.encode() in line for line in file):
                    found.append(path)
    return found


def _file(path: Path, store_root: Path) -> Trace:
    return Trace(path.relative_to(store_root).as_posix(), path.stat().st_size)


def _open_record(store: Store, video_id: str) -> tuple[str, PurgeRecord | None]:
    """The newest record of a purge of this video."""
    found = list(store.list(keys.purge_records_prefix(video_id)))
    return (found[-1], codecs.from_json(PurgeRecord, store.get(found[-1]))) if found else ("", None)


def _refuse_while_running(store_root: Path) -> None:
    running = running_runs(store_root)
    if running:
        raise Unavailable(f"a run works on this store now ({running[0]}): purge when it has ended")


def _datasets_with(store: Store, video_id: str) -> list[str]:
    manifests = [key for key in store.list(_DATASETS) if key.endswith("/manifest.json")]
    return [key.split("/")[1] for key in manifests if video_id.encode() in store.get(key)]


def _kinds(traces: Iterable[Trace]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trace in traces:
        kind = trace.name.partition("/")[0].lstrip(".")
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _bytes(traces: Iterable[Trace]) -> int:
    return sum(trace.num_bytes for trace in traces)
