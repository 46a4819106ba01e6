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
    duration_seconds: float = 0.0  # of the video; 0 = not told in this run
    messages: dict[str, tuple[int, int]] = field(default_factory=dict)  # group of a stage -> (done, known so far)
    num_dead: int = 0  # messages that will not be tried again
    counters: dict[str, float] = field(default_factory=dict)  # `name` or `name{label=value}`
    seconds: dict[str, float] = field(default_factory=dict)  # step -> busy thread seconds


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one moment."""

    elapsed_seconds: float
    videos: dict[str, VideoActivity]  # by video id; by source text as long as, or if, the id is unknown
    outcomes: dict[str, dict[str, int]]  # stage -> done, dead, abandoned -> messages
    dead_letters: tuple[DeadLetter, ...]
    num_videos: int = 0  # that were asked for; 0 = not known here


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
        self._durations: dict[str, float] = {}  # seconds
        self._report = DrainReport()
        self._video_ids: dict[str, str] = {}  # source -> video id
        self._published: dict[tuple[str, str], int] = {}  # (subject, topic) -> messages
        self._worked: dict[tuple[str, str, str], int] = {}  # (subject, topic, group) -> messages

    def observe(self, told: Begun | Outcome) -> None:
        """Take in what a worker says of one message."""
        with self._guard:
            begun = told if isinstance(told, Begun) else told.begun
            worked = (begun.subject, begun.topic, begun.group)
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
            names: dict[str, list[str]] = {}  # video id, or source while it is unknown -> all that it is called
            messages = self._messages()
            for subject in sorted({*self._seconds, *self._counters, *self._phases, *messages, *self._video_ids}):
                names.setdefault(self._video_ids.get(subject, subject), []).append(subject)
            return RunSnapshot(
                time.monotonic() - self._started,
                {video_id: self._activity(video_id, names[video_id], messages) for video_id in sorted(names)},
                {stage: dict(counts) for stage, counts in self._report.outcomes.items()},
                tuple(self._report.dead_letters),
            )

    def _messages(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Subject -> group -> (worked off, known so far)."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        for (subject, topic, group), number in self._worked.items():
            found.setdefault(subject, {})[group] = (number, max(self._published.get((subject, topic), 1), number))
        return found

    def _activity(
        self, video_id: str, names: list[str], messages: dict[str, dict[str, tuple[int, int]]]
    ) -> VideoActivity:
        """What was told of a video under its id, and under its source before the id was known."""
        _, phase, done, total = max(
            (self._phases[name] for name in names if name in self._phases), default=(0, "", 0, 0)
        )
        of_groups: dict[str, tuple[int, int]] = {}
        for name in names:
            for group, (worked, known) in messages.get(name, {}).items():
                before = of_groups.get(group, (0, 0))
                of_groups[group] = (before[0] + worked, before[1] + known)
        return VideoActivity(
            sources=tuple(name for name in names if name != video_id),
            phase=phase,
            done=done,
            total=total,
            duration_seconds=max((self._durations.get(name, 0.0) for name in names), default=0.0),
            messages=of_groups,
            num_dead=sum(letter.subject in names for letter in self._report.dead_letters),
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
            if entry["phase"] == "decode":
                self._durations[video] = entry["total"]


def _add(sums: dict[str, dict[str, float]], video: str, name: str, value: float) -> None:
    of_video = sums.setdefault(video, {})
    of_video[name] = of_video.get(name, 0.0) + value


def _summed(sums: dict[str, dict[str, float]], names: list[str]) -> dict[str, float]:
    total: dict[str, dict[str, float]] = {"": {}}
    for name in names:
        for key, value in sums.get(name, {}).items():
            _add(total, "", key, value)
    return total[""]
