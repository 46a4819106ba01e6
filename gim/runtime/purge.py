"""Removes every trace of a video from a store, and leaves a record that says so.

Traces are the objects below the video's prefixes, the aliases that lead to it, what its downloads left, and the
folders of ended runs (their messages and logs name it). The record holds the id and counts, nothing of the content.
What was made of the video and is no trace of it (datasets, checkpoints, reports) is named and left as it is.

This is for a store that nobody works on; see `purge_cluster` for one that services work on.

Order: the record of what is about to go is written first. Then manifests and meta, so that a reader finds the video
whole or not at all; then everything else, aliases after the downloads they name. Traces are found by prefix, not by
what is removed, so after a crash at any point the same command finds the rest and completes the same record.
"""

import datetime
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from gim import codecs, keys
from gim.datasets.manifest import datasets_with
from gim.errors import InvalidInput, KeyMissing, Unavailable
from gim.ports.store import Store
from gim.runtime.run_folder import remove_ended_runs, running_runs
from gim.transfer.download import discard
from gim.video.sources import youtube
from gim.video.sources.library import source_alias_keys

_DESCRIPTIONS = ("manifest.json", "meta.json")
_RUNS = ".run"
_AT_ONCE = 16  # requests to the store


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
    num_letters: int = 0  # dead letters that were settled
    finished_at: str = ""  # empty: interrupted, the same command completes it


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What was, or would be, removed."""

    video_id: str
    removed: list[Trace]
    num_bytes: int
    made_of: "MadeOf"  # left as it is
    record: str  # key of the record; empty when nothing was done
    purged_before: str = ""  # when, if nothing is left to remove
    num_letters: int = 0  # dead letters that were, or would be, settled


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What was made with the help of a video."""

    datasets: list[str]  # ids
    checkpoints: list[str]  # run/step
    reports: list[str]  # store keys


def find_traces(store: Store, store_root: Path, video_id: str) -> list[Trace]:
    """Everything a purge of this video would remove, in that order.

    Raises:
        InvalidInput: no video id.
    """
    traces = object_traces(store, video_id)
    aliases = source_alias_keys(store, video_id)
    traces += [_file(path, store_root) for path in _downloads(store_root / ".downloads", video_id, aliases)]
    traces += [Trace(key, store.size(key)) for key in aliases]
    return traces + [_file(path, store_root) for path in _run_files(store_root, video_id)]


def object_traces(store: Store, video_id: str) -> list[Trace]:
    """The objects of a video, manifests and meta first, without the aliases that lead to it.

    Raises:
        InvalidInput: no video id.
    """
    found = [key for prefix in keys.everything_of(keys.validate_video_id(video_id)) for key in store.list(prefix)]
    first = sorted(found, key=lambda key: not is_description(key))
    with ThreadPoolExecutor(_AT_ONCE) as requests:
        return list(requests.map(lambda key: Trace(key, _size(store, key)), first))


def is_description(key: str) -> bool:
    """Whether an object says that others are whole."""
    return PurePosixPath(key).name in _DESCRIPTIONS


def made_of(store: Store, video_id: str) -> MadeOf:
    """What names the video, or was made from what names it."""
    datasets = datasets_with(store, video_id)
    checkpoints = [
        key.removeprefix(keys.checkpoints_prefix()).removesuffix("/manifest.json")
        for key in _manifests(store, keys.checkpoints_prefix())
        if _dataset_of(store, key) in datasets
    ]
    reports = [key for checkpoint in checkpoints for key in store.list(f"reports/{checkpoint}/")]
    return MadeOf(datasets, checkpoints, [key for key in reports if key.endswith("/report.json")])


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
    before = purged_before(store, video_id, is_there=bool(traces))
    if before:
        return PurgeResult(video_id, [], 0, made_of(store, video_id), "", before)
    _refuse_while_running(store_root)
    key, record = begin_record(store, video_id, traces, now())
    _remove(store, store_root, video_id, traces)
    finish_record(store, key, record, now())
    return PurgeResult(video_id, traces, num_bytes(traces), made_of(store, video_id), key)


def preview_purge(store: Store, store_root: Path, video_id: str) -> PurgeResult:
    """What `purge_video` would do; nothing is touched.

    Raises:
        InvalidInput: no video id, or the store never had this video.
    """
    traces = find_traces(store, store_root, video_id)
    before = purged_before(store, video_id, is_there=bool(traces))
    return PurgeResult(video_id, traces, num_bytes(traces), made_of(store, video_id), "", before)


def purged_before(store: Store, video_id: str, *, is_there: bool) -> str:
    """When a video was purged for good, if nothing is left to do; else nothing.

    Raises:
        InvalidInput: the store never had this video.
    """
    _, record = _newest_record(store, video_id)
    if not is_there and record is None:
        raise InvalidInput(f"{video_id}: the store holds nothing of it; see `gim ls`")
    return record.finished_at if record and not is_there else ""


def begin_record(
    store: Store, video_id: str, traces: Iterable[Trace], now: datetime.datetime, num_letters: int = 0
) -> tuple[str, PurgeRecord]:
    """Write down what is about to go; a purge that was interrupted goes on with its own record."""
    key, record = _newest_record(store, video_id)
    if record is None or record.finished_at:
        going = list(traces)
        record = PurgeRecord(video_id, now.isoformat(timespec="seconds"), _kinds(going), num_bytes(going), num_letters)
        key = keys.purge_record(video_id, now.strftime("%Y%m%dT%H%M%S%f"))
        store.put(key, codecs.to_json(record))
    return key, record


def finish_record(store: Store, key: str, record: PurgeRecord, now: datetime.datetime) -> None:
    """Write down that nothing is left."""
    store.put(key, codecs.to_json(replace(record, finished_at=now.isoformat(timespec="seconds"))))


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


def _newest_record(store: Store, video_id: str) -> tuple[str, PurgeRecord | None]:
    """The newest record of a purge of this video."""
    found = list(store.list(keys.purge_records_prefix(video_id)))
    return (found[-1], codecs.from_json(PurgeRecord, store.get(found[-1]))) if found else ("", None)


def _refuse_while_running(store_root: Path) -> None:
    running = running_runs(store_root)
    if running:
        raise Unavailable(f"a run works on this store now ({running[0]}): purge when it has ended")


def _manifests(store: Store, prefix: str) -> list[str]:
    return [key for key in store.list(prefix) if key.endswith("/manifest.json")]


def _dataset_of(store: Store, key: str) -> str:
    """The dataset a checkpoint was trained on, as its manifest says."""
    try:
        return str(json.loads(store.get(key)).get("dataset_id", ""))
    except (ValueError, AttributeError, KeyMissing):  # not ours to mend here
        return ""


def _size(store: Store, key: str) -> int:
    try:
        return store.size(key)
    except KeyMissing:  # caches come and go
        return 0


def _kinds(traces: Iterable[Trace]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trace in traces:
        kind = trace.name.partition("/")[0].lstrip(".")
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def num_bytes(traces: Iterable[Trace]) -> int:
    """Of all of them together."""
    return sum(trace.num_bytes for trace in traces)
