"""How a run looks while it goes on: one line per video at work, and one for the whole with rate and time left.

Draws on stderr, so that stdout holds the result alone. On a stderr that is no terminal, or cannot move its cursor, it
says a plain line now and then; where a program reads the result it says nothing.
"""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gim.cli._terminal import printable
from gim.runtime.journal import RunSnapshot, VideoActivity

# Share of a video's time that its stages take, for the bar and the time left: measured on two cores.
_STAGE_SHARES = {"ingest": 0.1, "label": 0.6, "propagate": 0.3}
_PLAIN_LINE_SECONDS = 30.0
_PASSED_SECONDS = 1.0  # of work; a video that took less was finished before
_MAX_LINES = 8
_NAME_WIDTH = 36
_BAR_WIDTH = 24


class RunProgress:
    """A display that is told about twice a second how the run stands."""

    def __init__(self, *, quiet: bool = False, plain_lines: bool = True) -> None:
        """Begin with nothing to show.

        Args:
            quiet: show nothing at all.
            plain_lines: whether lines are printed where nothing can be drawn.
        """
        self._console = Console(stderr=True, quiet=quiet)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True) if self._is_drawn() else None
        self._plain_lines = plain_lines
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.update(Text("looking up the sources", style="dim"))
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, snapshot: RunSnapshot) -> None:
        """Show a snapshot; called from another thread than the one that entered."""
        if self._live:
            self._live.update(draw_snapshot(snapshot))
        elif self._plain_lines and time.monotonic() - self._last_line >= _PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(Text(overall_line(snapshot)), soft_wrap=True)

    def _is_drawn(self) -> bool:
        return sys.stderr.isatty() and not self._console.is_dumb_terminal and not self._console.quiet


def draw_snapshot(snapshot: RunSnapshot) -> Group:
    """The lines of a snapshot: videos at work, nearest to their end first, and the whole."""
    shares = {name: video_share(activity) for name, activity in _begun(snapshot).items()}
    at_work = sorted((name for name, share in shares.items() if share < 1), key=lambda name: -shares[name])
    table = Table.grid(padding=(0, 1))
    for name in at_work[:_MAX_LINES]:
        activity = snapshot.videos[name]
        bar = ProgressBar(total=1.0, completed=shares[name], width=_BAR_WIDTH)
        table.add_row(
            Text(_short(next(iter(activity.sources), name)), style="bold"), bar, Text(phase(activity), style="dim")
        )
    more = [Text(f"and {len(at_work) - _MAX_LINES} more", style="dim")] if len(at_work) > _MAX_LINES else []
    return Group(table, *more, Text(overall_line(snapshot)))


def overall_line(snapshot: RunSnapshot) -> str:
    """The whole run in words: videos done, pairs and their rate, time so far and time left."""
    begun = _begun(snapshot)
    total = max(snapshot.num_videos, len(begun))
    pairs = sum(_counter(activity, "pairs_labelled") for activity in begun.values())
    num_done = sum(video_share(activity) >= 1 for activity in begun.values())
    parts = [f"{num_done} of {total} videos done" if total > 1 else ""]
    num_failed = sum(activity.num_dead > 0 for activity in begun.values())
    parts.append(f"{num_failed} failed" if num_failed else "")
    parts.append(f"{pairs:.0f} base pairs" if pairs else "")
    parts.append(_rate(begun, snapshot.elapsed_seconds))
    parts.append(f"{_clock(snapshot.elapsed_seconds)} so far")
    left = seconds_left(snapshot)
    parts.append("" if left is None else f"about {_clock(left)} left")
    return " · ".join(filter(None, parts))


def seconds_left(snapshot: RunSnapshot) -> float | None:
    """By the pace of what this run has worked on; None while too little is known, or when all is done.

    Videos that were finished before are passed over in no time, and say nothing of the pace.
    """
    begun = _begun(snapshot)
    shares = {name: video_share(activity) for name, activity in begun.items()}
    worked = sum(share for name, share in shares.items() if sum(begun[name].seconds.values()) > _PASSED_SECONDS)
    to_do = max(snapshot.num_videos, len(begun)) - sum(shares.values())
    if max(shares.values(), default=0.0) <= _STAGE_SHARES["ingest"] or worked <= 0 or to_do <= 0:
        return None  # before the first labels nothing is known of the longest part
    return snapshot.elapsed_seconds * to_do / worked


def video_share(activity: VideoActivity) -> float:
    """How much of a video's work is done, 0 to 1, by the messages of its stages and the phase at hand."""
    numbers = activity.messages.values()
    all_worked = bool(numbers) and all(worked >= known for worked, known in numbers)
    if all_worked and (activity.num_dead or "propagate" in activity.messages):
        return 1.0
    share = _STAGE_SHARES["ingest"] * _share_of(activity, "ingest", "fetch", "decode")
    share += _STAGE_SHARES["label"] * _share_of(activity, "label", "label")
    # Its messages are the bells of single segments: all but the last of them ring for nothing.
    if activity.phase == "propagate" and activity.total > 0:
        share += _STAGE_SHARES["propagate"] * min(activity.done / activity.total, 1.0)
    return min(share, 1.0 - 1e-6)


def _share_of(activity: VideoActivity, stage: str, *phases: str) -> float:
    """Messages that are done, and of one in hand the part that its phase tells of."""
    worked, known = _counts(activity, stage)
    if not known:
        return 0.0
    in_hand = _phase_share(activity) if activity.phase in phases and known > worked else 0.0
    return (worked + in_hand) / known


def _phase_share(activity: VideoActivity) -> float:
    """The part of the message in hand that is done."""
    if activity.total <= 0:
        return 0.0
    if activity.phase == "label":  # counts in segments, each of which is a message
        return activity.done % 1.0
    part: float = min(activity.done / activity.total, 1.0)
    return {"fetch": part / 2, "decode": (1 + part) / 2}.get(activity.phase, part)  # of one message


def phase(activity: VideoActivity) -> str:
    """What is being done for a video, in words."""
    ingested = _counts(activity, "ingest")
    if not activity.phase or (activity.phase in ("fetch", "decode") and ingested[1] and ingested[0] == ingested[1]):
        in_hand = (group for group, (worked, known) in activity.messages.items() if worked < known)
        return next(in_hand, "waiting").split("-")[0]
    if activity.phase == "label":
        done, known = _counts(activity, "label")
        return f"label, {done} of {known} segments" if done < known else "propagate"
    return f"{activity.phase} {activity.done / activity.total:.0%}" if activity.total > 0 else activity.phase


def _counts(activity: VideoActivity, stage: str) -> tuple[int, int]:
    """Messages of a stage, whatever its groups: done, and known so far."""
    numbers = [number for group, number in activity.messages.items() if group.startswith(stage)]
    return sum(worked for worked, _ in numbers), sum(known for _, known in numbers)


def _begun(snapshot: RunSnapshot) -> dict[str, VideoActivity]:
    """The videos of which a message was taken up; what a stage tells before it knows the id is nobody's yet."""
    return {name: activity for name, activity in snapshot.videos.items() if activity.messages}


def _rate(begun: dict[str, VideoActivity], elapsed_seconds: float) -> str:
    """How many seconds of video a second of time gets done; empty before it is known."""
    done = sum(video_share(activity) * activity.duration_seconds for activity in begun.values())
    return f"{done / elapsed_seconds:.2g}x real time" if done > 0 and elapsed_seconds > 0 else ""


def _counter(activity: VideoActivity, name: str) -> float:
    return sum(value for key, value in activity.counters.items() if key.split("{")[0] == name)


def _short(name: str, width: int = _NAME_WIDTH) -> str:
    tail = printable(name.rstrip("/").rpartition("/")[2] or name)
    return tail if len(tail) <= width else "…" + tail[-(width - 1) :]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
