"""Reads what the processes of a run have told, and what became of their messages, into one picture of the run."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gim.runtime.outcome import Begun, DeadLetter, DrainReport, Outcome


@dataclass(frozen=True, slots=True)
class VideoActivity:
    """What a run did for one video so far."""

    sources: tuple[str, ...] = ()  # as they were asked for, where this run resolved them; equal files share an id
    phase: str = ""  # the one that was last heard of
    done: float = 0.0  # of that phase
    total: float = 0.0  # 0 = unknown
    messages: dict[str, tuple[int, int]] = field(default_factory=dict)  # stage -> (done, known so far)
    counters: dict[str, float] = field(default_factory=dict)  # `name` or `name{label=value}`
    seconds: dict[str, float] = field(default_factory=dict)  # step -> busy thread seconds


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one moment."""

    elapsed_seconds: float
    videos: dict[str, VideoActivity]  # by video id; by source text as long as, or if, the id is unknown
    outcomes: dict[str, dict[str, int]]  # stage -> done, dead, abandoned -> messages
    dead_letters: tuple[DeadLetter, ...]


class RunWatch:
    """Adds up journals and outcomes. `observe` and `snapshot` may be called from different threads."""

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._started = time.monotonic()
        self._guard = threading.Lock()
        self._offsets: dict[Path, int] = {}
        self._seconds: dict[str, dict[str, float]] = {}
        self._counters: dict[str, dict[str, float]] = {}
        self._phases: dict[str, tuple[float, str, float, float]] = {}  # (at, phase, done, total)
        self._report = DrainReport()
        self._video_ids: dict[str, str] = {}  # source -> video id
        self._published: dict[tuple[str, str], int] = {}  # (subject, topic) -> messages
        self._worked: dict[tuple[str, str, str], int] = {}  # (subject, topic, stage) -> messages

    def observe(self, told: Begun | Outcome) -> None:
        """Take in what a worker says of one message."""
        with self._guard:
            begun = told if isinstance(told, Begun) else told.begun
            worked = (begun.subject, begun.topic, begun.stage)
            self._worked.setdefault(worked, 0)
            if isinstance(told, Begun):
                return
            self._report.add(told)
            self._worked[worked] += told.status != "abandoned"
            if told.video_id and told.video_id != begun.subject:
                self._video_ids[begun.subject] = told.video_id
            for topic, number in told.published.items():
                about = (told.video_id or begun.subject, topic)
                self._published[about] = self._published.get(about, 0) + number

    def snapshot(self) -> RunSnapshot:
        """The run as it is now."""
        with self._guard:
            self._read_on()
            subjects = {
                *self._seconds,
                *self._counters,
                *self._phases,
                *(subject for subject, *_ in (*self._worked, *self._published)),
            }
            ids = sorted({self._video_ids.get(subject, subject) for subject in subjects})
            return RunSnapshot(
                time.monotonic() - self._started,
                {video_id: self._activity(video_id) for video_id in ids},
                {stage: dict(counts) for stage, counts in self._report.outcomes.items()},
                tuple(self._report.dead_letters),
            )

    def _activity(self, video_id: str) -> VideoActivity:
        """What was told of a video under its id, and under its source before the id was known."""
        sources = [source for source, resolved in self._video_ids.items() if resolved == video_id]
        names = [*sources, video_id]
        _, phase, done, total = max(
            (self._phases[name] for name in names if name in self._phases), default=(0, "", 0, 0)
        )
        messages: dict[str, tuple[int, int]] = {}
        for (subject, topic, stage), number in self._worked.items():
            if subject in names:
                worked, known = messages.get(stage, (0, 0))
                more = self._published.get((subject, topic), 1)
                messages[stage] = (worked + number, max(known + more, worked + number))
        return VideoActivity(
            sources=tuple(sources),
            phase=phase,
            done=done,
            total=total,
            messages=messages,
            counters=_summed(self._counters, names),
            seconds=_summed(self._seconds, names),
        )

    def _read_on(self) -> None:
        for path in sorted(self._journals.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                # A process that is killed may leave half a line: only whole ones count.
                complete, newline, _ = file.read().rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(complete + newline)
            for line in complete.splitlines():
                self._take_in(json.loads(line))

    def _take_in(self, entry: dict[str, Any]) -> None:
        video = entry["video"]
        if "step" in entry:
            _add(self._seconds, video, entry["step"], entry["seconds"])
        elif "count" in entry:
            _add(self._counters, video, entry["count"], entry["value"])
        elif entry["at"] >= self._phases.get(video, (0.0,))[0]:
            self._phases[video] = (entry["at"], entry["phase"], entry["done"], entry["total"])


def _add(sums: dict[str, dict[str, float]], video: str, name: str, value: float) -> None:
    of_video = sums.setdefault(video, {})
    of_video[name] = of_video.get(name, 0.0) + value


def _summed(sums: dict[str, dict[str, float]], names: list[str]) -> dict[str, float]:
    total: dict[str, dict[str, float]] = {"": {}}
    for name in names:
        for key, value in sums.get(name, {}).items():
            _add(total, "", key, value)
    return total[""]
