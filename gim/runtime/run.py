"""`gim run`: sources in, training pairs and a summary per video out."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import GimError, InvalidInput, NotOffered
from gim.ports.store import Store
from gim.records import PairIndex, PairsManifest
from gim.runtime.chains import Chains
from gim.runtime.embedded import RunReport
from gim.runtime.journal import RunSnapshot, VideoActivity
from gim.runtime.last_bells import work_off
from gim.runtime.trained import with_runs
from gim.runtime.wiring import load_matchers, matcher_ids
from gim.settings import Settings
from gim.video.sources.expand import SkippedSource, Source, expand_source
from gim.video.sources.youtube import OVER_MAX_VIDEOS
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

KEPT, REJECTED, SKIPPED, FAILED = "kept", "rejected", "skipped", "failed"
_MAX_REASONS = 3  # that a barren list names


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """What came of one source."""

    source: str
    status: str  # kept, rejected (rightly: nothing to label), skipped (of a list), failed, unfinished (interrupted)
    video_id: str = ""
    recipe_id: str = ""
    frames_sampled: int = 0
    pairs_labelled: dict[str, int] = field(default_factory=dict)  # matcher name -> base pairs
    pairs_kept: int = 0
    correspondences: int = 0
    median_interval_seconds: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # step -> busy thread seconds of this run
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> starts, frames of rejected shots, or 1: skipped
    reason: str = ""  # why nothing was kept
    error: str = ""  # one line, when it failed
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run."""

    videos: list[VideoSummary]
    elapsed_seconds: float
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """130 when interrupted, else the worst of the videos': bad input 2, unavailable 3, a bug 1."""
        if self.interrupted:
            return 130
        codes = {video.exit_code for video in self.videos}
        return next((code for code in (1, 3, 2) if code in codes), 0)


def run_videos(
    sources: Sequence[str], settings: Settings, on_snapshot: Callable[[RunSnapshot], None] | None = None
) -> RunResult:
    """Label every video the sources stand for; one that fails stops no other.

    An entry of a playlist, channel or search that its site keeps from us, or whose licence is not allowed, is skipped
    with its reason. It is a failure where the user named that video, or where nothing of a whole list can be taken.

    Args:
        sources: files, folders, URLs, YouTube ids or lists, list files of such.
        settings: checked.
        on_snapshot: told about twice a second how the run stands.

    Returns:
        The result; no store is made where no source stands for a video.

    Raises:
        GimError: the settings or the store are at fault.
    """
    settings = with_runs(settings)  # before any process begins: all work with the same checkpoints
    matchers = load_matchers(settings)
    names = dict(zip(matcher_ids(settings, matchers), settings.matchers, strict=True))  # looks for the segmenter too
    expanded = _Expanded(sources, settings)
    found = list(expanded.found.values())
    if not found:
        return RunResult([*expanded.refused, *expanded.barren_lists({})], 0.0, interrupted=False)
    events = [(source.text, events_pb2.VideoRequested(source=source.text)) for source in found]
    root = Path(settings.store)

    def last_bells(report: RunReport) -> list[tuple[str, Event]]:
        with closing(FileStore(root)) as store:
            chains = Chains(store, root, settings, matchers)
            ids = filter(keys.is_video_id, report.videos)
            return [event for video_id in ids for event in chains.last_bell(video_id)]

    def tell(snapshot: RunSnapshot) -> None:
        if on_snapshot is not None:
            on_snapshot(replace(snapshot, num_videos=len(found)))

    report = work_off(events, settings, last_bells, tell)
    with closing(FileStore(root)) as store:
        results = _Results(store, Chains(store, root, settings, matchers), names)
        videos = {source.text: results.summary(source, report) for source in found}
    rows = [*expanded.refused, *videos.values(), *expanded.barren_lists(videos)]
    return RunResult(rows, report.elapsed_seconds, report.interrupted)


class _Expanded:
    """Single videos, each once, in order; a row for each text that stands for none; what came of which list."""

    def __init__(self, sources: Sequence[str], settings: Settings) -> None:
        self.found: dict[str, Source] = {}
        self.refused: list[VideoSummary] = []
        self._entries: dict[str, list[str]] = {}  # text of the user -> entries of its lists
        self._skipped: dict[str, Counter[str]] = {}  # text of the user -> reasons of entries left out at once
        for text in sources:
            try:
                for source in expand_source(text, settings.source, on_skip=partial(self._skip, text)):
                    self._take(text, source)
            except GimError as error:
                self.refused.append(_failed(text, error))

    def barren_lists(self, videos: Mapping[str, VideoSummary]) -> Iterator[VideoSummary]:
        """A failed row for each playlist, channel or search of which nothing could be taken."""
        for text in {**self._entries, **self._skipped}:
            entries = [videos[entry] for entry in self._entries.get(text, [])]
            if any(entry.status != SKIPPED for entry in entries):
                continue
            reasons = Counter(entry.reason for entry in entries) + self._skipped.get(text, Counter())
            told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(_MAX_REASONS))
            way_out = "; see source.allow_unknown_licence and source.allow_licences" if reasons["licence"] else ""
            line = f"{text}: none of its {reasons.total()} videos can be taken ({told}){way_out}"
            yield _failed(text, InvalidInput(line))

    def _take(self, text: str, source: Source) -> None:
        if not _is_utf8(source.text):  # a message is; one such file in a folder must not stop the others
            shown = source.text.encode("utf-8", "backslashreplace").decode()
            self.refused.append(_failed(source.text, InvalidInput(f"{shown}: its name is not UTF-8; rename it")))
            return
        if source.is_listed:
            self._entries.setdefault(text, []).append(source.text)
        if source.text not in self.found or not source.is_listed:
            self.found[source.text] = source

    def _skip(self, text: str, skipped: SkippedSource) -> None:
        if isinstance(skipped.error, NotOffered):
            self._skipped.setdefault(text, Counter())[skipped.reason] += skipped.reason != OVER_MAX_VIDEOS
            self.refused.append(_skipped(skipped.text, skipped.reason))
        else:
            self.refused.append(_failed(skipped.text, skipped.error))


class _Results:
    """Reads from the store what came of each video under the settings of this run."""

    def __init__(self, store: Store, chains: Chains, matcher_names: dict[str, str]) -> None:
        self._store = store
        self._chains = chains
        self._matcher_names = matcher_names  # matcher id -> name

    def summary(self, asked: Source, report: RunReport) -> VideoSummary:
        """One source's row."""
        source = asked.text
        video_id, activity = _activity_of(source, report)
        pairs = self._chains.result(video_id) if video_id else None
        seconds = {step: round(value, 3) for step, value in sorted(activity.seconds.items())}
        if pairs is None:
            reasons = [letter.reason for letter in report.failures(source)]
            if asked.is_listed and any(reasons):
                return _skipped(source, next(filter(None, reasons)), seconds)
            ending = report.ending(source, video_id)
            return VideoSummary(
                source, ending.status, video_id, seconds=seconds, error=ending.error, exit_code=ending.exit_code
            )
        funnel = pairs.funnel
        return VideoSummary(
            source=source,
            status=KEPT if pairs.num_pairs else REJECTED,
            video_id=video_id,
            recipe_id=pairs.recipe_id,
            frames_sampled=funnel.frames_sampled,
            pairs_labelled={self._matcher_names[key]: count for key, count in funnel.pairs_labelled.items()},
            pairs_kept=pairs.num_pairs,
            correspondences=pairs.num_correspondences,
            median_interval_seconds=self._median_interval(pairs),
            seconds=seconds,
            rejected={**funnel.frames_rejected, **funnel.starts_rejected},
            reason=pairs.rejected,
        )

    def _median_interval(self, pairs: PairsManifest) -> float | None:
        if not pairs.num_pairs:
            return None
        key = keys.pairs_index(pairs.video_id, pairs.recipe_id)
        index = codecs.from_json(PairIndex, self._store.get(key))
        return round(statistics.median(entry.quality.interval_seconds for entry in index.pairs), 6)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _failed(source: str, error: GimError) -> VideoSummary:
    return VideoSummary(source, FAILED, error=str(error), exit_code=type(error).exit_code)


def _skipped(source: str, reason: str, seconds: dict[str, float] | None = None) -> VideoSummary:
    return VideoSummary(source, SKIPPED, seconds=seconds or {}, rejected={reason: 1}, reason=reason)


def _activity_of(source: str, report: RunReport) -> tuple[str, VideoActivity]:
    """The video id of a source, empty when it was never found out, and what the run did for it."""
    for subject, activity in report.videos.items():
        if source in (*activity.sources, subject):
            return subject if keys.is_video_id(subject) else "", activity
    return "", VideoActivity()
