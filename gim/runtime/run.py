"""`gim run`: sources in, training pairs and a summary per video out."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import GimError
from gim.ports.store import Store
from gim.records import PairIndex, PairsManifest
from gim.runtime.chains import Chains
from gim.runtime.embedded import RunReport
from gim.runtime.journal import RunSnapshot, VideoActivity
from gim.runtime.last_bells import work_off
from gim.runtime.wiring import load_matchers, matcher_ids
from gim.settings import Settings
from gim.video.sources.expand import SkippedSource, Source, expand_source
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

KEPT, REJECTED, FAILED = "kept", "rejected", "failed"


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """What came of one source."""

    source: str
    status: str  # kept, rejected (rightly: nothing to label), failed, unfinished (interrupted)
    video_id: str = ""
    recipe_id: str = ""
    frames_sampled: int = 0
    pairs_labelled: dict[str, int] = field(default_factory=dict)  # matcher name -> base pairs
    pairs_kept: int = 0
    correspondences: int = 0
    median_interval_seconds: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # step -> busy thread seconds of this run
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> starts, or frames of rejected shots
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

    Args:
        sources: files, folders, URLs, YouTube ids or lists, list files of such.
        settings: checked.
        on_snapshot: told about twice a second how the run stands.

    Raises:
        GimError: the settings or the store are at fault.
    """
    matchers = load_matchers(settings)
    found, failed = _expand(sources, settings)
    events = [(source.text, events_pb2.VideoRequested(source=source.text)) for source in found]
    root = Path(settings.store)

    def last_bells(report: RunReport) -> list[tuple[str, Event]]:
        with closing(FileStore(root)) as store:
            chains = Chains(store, root, settings, matchers)
            ids = filter(keys.is_video_id, report.videos)
            return [event for video_id in ids for event in chains.last_bell(video_id)]

    report = work_off(events, settings, last_bells, on_snapshot)
    names = dict(zip(matcher_ids(settings, matchers), settings.matchers, strict=True))
    with closing(FileStore(root)) as store:
        results = _Results(store, Chains(store, root, settings, matchers), names)
        videos = [results.summary(source.text, report) for source in found]
    return RunResult([*failed, *videos], report.elapsed_seconds, report.interrupted)


class _Results:
    """Reads from the store what came of each video under the settings of this run."""

    def __init__(self, store: Store, chains: Chains, matcher_names: dict[str, str]) -> None:
        self._store = store
        self._chains = chains
        self._matcher_names = matcher_names  # matcher id -> name

    def summary(self, source: str, report: RunReport) -> VideoSummary:
        """One source's row."""
        video_id, activity = _activity_of(source, report)
        pairs = self._chains.result(video_id) if video_id else None
        seconds = {step: round(value, 3) for step, value in sorted(activity.seconds.items())}
        if pairs is None:
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


def _expand(sources: Sequence[str], settings: Settings) -> tuple[list[Source], list[VideoSummary]]:
    """Single videos, each once, in order; and a row for each text that stands for none."""
    found: dict[str, Source] = {}
    failed: list[VideoSummary] = []

    def skip(skipped: SkippedSource) -> None:
        failed.append(_failed(skipped.text, skipped.error))

    for text in sources:
        try:
            for source in expand_source(text, settings.source, on_skip=skip):
                found.setdefault(source.text, source)
        except GimError as error:
            failed.append(_failed(text, error))
    return list(found.values()), failed


def _failed(source: str, error: GimError) -> VideoSummary:
    return VideoSummary(source, FAILED, error=str(error), exit_code=type(error).exit_code)


def _activity_of(source: str, report: RunReport) -> tuple[str, VideoActivity]:
    """The video id of a source, empty when it was never found out, and what the run did for it."""
    for subject, activity in report.videos.items():
        if source in (*activity.sources, subject):
            return subject if keys.is_video_id(subject) else "", activity
    return "", VideoActivity()
