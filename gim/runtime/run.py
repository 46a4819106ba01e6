"""`gim run`: sources in, training pairs and a summary per video out."""

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import GimError
from gim.ports.store import Store
from gim.records import FrameManifest, PairIndex, PairsManifest
from gim.runtime.embedded import RunReport, run_embedded
from gim.runtime.journal import RunSnapshot, VideoActivity
from gim.runtime.wiring import build_stages, load_matchers, matcher_ids
from gim.settings import Settings
from gim.stages.ingest import sampling_id
from gim.stages.labelled import complete_matchers
from gim.stages.propagate import recipe_id
from gim.video.sources.expand import SkippedSource, Source, expand_source
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

KEPT, REJECTED, FAILED, UNFINISHED = "kept", "rejected", "failed", "unfinished"


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
    jobs = settings.run.jobs
    threads = settings.run.threads or max(1, len(os.sched_getaffinity(0)) // jobs)
    start = partial(
        run_embedded,
        store_root=Path(settings.store),
        build_stages=partial(build_stages, settings),
        jobs=jobs,
        threads=threads,
        on_snapshot=on_snapshot,
    )
    report = start(events)
    ids = dict(zip(matcher_ids(settings, matchers), settings.matchers, strict=True))
    with closing(FileStore(Path(settings.store))) as store:
        reader = _Results(store, settings, ids)
        late = reader.unfinished(report)
        if late and len(ids) > 1 and not report.interrupted:
            report = _merged(report, start(late))
        videos = [reader.summary(source.text, report) for source in found]
    return RunResult([*failed, *videos], report.elapsed_seconds, report.interrupted)


class _Results:
    """Reads from the store what came of each video under the settings of this run."""

    def __init__(self, store: Store, settings: Settings, matcher_names: dict[str, str]) -> None:
        self._store = store
        self._settings = settings
        self._matcher_names = matcher_names  # matcher id -> name
        self._sampling_id = sampling_id(settings.video_config())

    def unfinished(self, report: RunReport) -> list[tuple[str, Event]]:
        """The last bell for videos that some matchers have labelled and others have failed on."""
        events: list[tuple[str, Event]] = []
        for video_id in filter(keys.is_video_id, report.videos):
            manifest = self._frames(video_id)
            if manifest is not None and self._pairs(manifest) is None:
                final = events_pb2.LabelsReady(video_id=video_id, sampling_id=self._sampling_id, final=True)
                events.append((video_id, final))
        return events

    def summary(self, source: str, report: RunReport) -> VideoSummary:
        """One source's row."""
        video_id, activity = _activity_of(source, report)
        manifest = self._frames(video_id)
        pairs = self._pairs(manifest) if manifest else None
        seconds = {step: round(value, 3) for step, value in sorted(activity.seconds.items())}
        if manifest is None or pairs is None:
            return self._unfinished_summary(source, video_id, seconds, report)
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

    def _unfinished_summary(
        self, source: str, video_id: str, seconds: dict[str, float], report: RunReport
    ) -> VideoSummary:
        letters = report.failures(source) or report.failures(video_id)
        if letters:
            letter = letters[0]
            return VideoSummary(
                source, FAILED, video_id, seconds=seconds, error=letter.message, exit_code=letter.exit_code
            )
        error = str(report.unavailable or "") or "not finished; the same command goes on where this one stopped"
        code = report.unavailable.exit_code if report.unavailable else 0 if report.interrupted else 1
        return VideoSummary(source, UNFINISHED, video_id, seconds=seconds, error=error, exit_code=code)

    def _median_interval(self, pairs: PairsManifest) -> float | None:
        if not pairs.num_pairs:
            return None
        key = keys.pairs_index(pairs.video_id, pairs.recipe_id)
        index = codecs.from_json(PairIndex, self._store.get(key))
        return round(statistics.median(entry.quality.interval_seconds for entry in index.pairs), 6)

    def _frames(self, video_id: str) -> FrameManifest | None:
        if not video_id:
            return None
        key = keys.frame_manifest(video_id, self._sampling_id)
        return codecs.from_json(FrameManifest, self._store.get(key)) if self._store.exists(key) else None

    def _pairs(self, manifest: FrameManifest) -> PairsManifest | None:
        used = complete_matchers(self._store, manifest, list(self._matcher_names))
        recipe = self._settings.recipe_record().name
        identity = recipe_id(recipe, self._settings.propagation, self._sampling_id, used)
        key = keys.pairs_manifest(manifest.video_id, identity)
        return codecs.from_json(PairsManifest, self._store.get(key)) if self._store.exists(key) else None


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


def _merged(first: RunReport, second: RunReport) -> RunReport:
    """The report of a run whose last bells were rung in a second part."""
    return replace(
        second,
        elapsed_seconds=first.elapsed_seconds + second.elapsed_seconds,
        videos={**second.videos, **first.videos},
        dead_letters=first.dead_letters + second.dead_letters,
    )
