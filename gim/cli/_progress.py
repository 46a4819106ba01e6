"""How a run looks while it goes on: one line per video at work, and one for the whole with rate and time left.

Draws on stderr, so that stdout holds the result alone; on a stderr that is no terminal, a plain line now and then.
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

from gim.runtime.journal import RunSnapshot, VideoActivity

# Share of a video's time that its stages take, for the bar and the time left: measured on two cores.
_STAGE_SHARES = {"ingest": 0.15, "label": 0.6, "propagate": 0.25}
_PHASE_STAGES = {"fetch": "ingest", "decode": "ingest", "label": "label", "propagate": "propagate"}
_PLAIN_LINE_SECONDS = 10.0
_MAX_LINES = 8


class RunProgress:
    """A display that is told about twice a second how the run stands."""

    def __init__(self, num_sources: int, *, quiet: bool = False) -> None:
        self._num_sources = num_sources
        self._console = Console(stderr=True, quiet=quiet)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True) if self._is_drawn() else None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
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
            self._live.update(draw_snapshot(snapshot, self._num_sources))
        elif time.monotonic() - self._last_line >= _PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(overall_line(snapshot, self._num_sources), highlight=False, soft_wrap=True)

    def _is_drawn(self) -> bool:
        return sys.stderr.isatty() and not self._console.quiet


def draw_snapshot(snapshot: RunSnapshot, num_sources: int) -> Group:
    """The lines of a snapshot: videos at work, nearest to their end first, and the whole."""
    shares = {name: video_share(activity) for name, activity in snapshot.videos.items()}
    at_work = sorted((name for name, share in shares.items() if share < 1), key=lambda name: -shares[name])
    table = Table.grid(padding=(0, 1))
    for name in at_work[:_MAX_LINES]:
        activity = snapshot.videos[name]
        bar = ProgressBar(total=1.0, completed=shares[name], width=24)
        table.add_row(
            Text(_short(next(iter(activity.sources), name)), style="bold"), bar, Text(_phase(activity), style="dim")
        )
    more = [Text(f"and {len(at_work) - _MAX_LINES} more", style="dim")] if len(at_work) > _MAX_LINES else []
    return Group(table, *more, Text(overall_line(snapshot, num_sources)))


def overall_line(snapshot: RunSnapshot, num_sources: int) -> str:
    """The whole run in words: videos done, pairs and their rate, time so far and time left."""
    total = max(num_sources, len(snapshot.videos))
    shares = [video_share(activity) for activity in snapshot.videos.values()]
    done = sum(shares) / total if total else 0.0
    pairs = sum(_counter(activity, "pairs_labelled") for activity in snapshot.videos.values())
    parts = [f"{sum(share >= 1 for share in shares)} of {total} videos"]
    if pairs and snapshot.elapsed_seconds > 0:
        parts.append(f"{pairs:.0f} base pairs, {pairs / snapshot.elapsed_seconds:.1f} a second")
    parts.append(f"{_clock(snapshot.elapsed_seconds)} so far")
    if _STAGE_SHARES["ingest"] < max(shares, default=0.0) and done < 1:  # before, nothing is known of the longest part
        parts.append(f"about {_clock(snapshot.elapsed_seconds * (1 - done) / done)} left")
    return " · ".join(parts)


def video_share(activity: VideoActivity) -> float:
    """How much of a video's work is done, 0 to 1, by the messages of its stages and the phase at hand."""
    share = 0.0
    running = _PHASE_STAGES.get(activity.phase, "")
    for stage, weight in _STAGE_SHARES.items():
        numbers = [number for name, number in activity.messages.items() if name.startswith(stage)]
        worked, known = sum(number[0] for number in numbers), sum(number[1] for number in numbers)
        part = worked / known if known else 0.0
        if stage == running and known > worked and activity.total > 0:
            part += min(activity.done / activity.total, 1.0) / known
        share += weight * min(part, 1.0)
    return share if share < 1 - 1e-9 else 1.0


def _counter(activity: VideoActivity, name: str) -> float:
    return sum(value for key, value in activity.counters.items() if key.split("{")[0] == name)


def _phase(activity: VideoActivity) -> str:
    if not activity.phase:
        return "waiting"
    return f"{activity.phase} {activity.done / activity.total:.0%}" if activity.total > 0 else activity.phase


def _short(name: str, width: int = 36) -> str:
    tail = name.rstrip("/").rpartition("/")[2] or name
    return tail if len(tail) <= width else "…" + tail[-(width - 1) :]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
