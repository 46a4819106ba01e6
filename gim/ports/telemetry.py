"""The Telemetry port: how stages say what they do, without knowing who listens (journal, Prometheus, nobody)."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Telemetry(Protocol):
    """Counts, durations, distributions and levels, labelled by video. Safe to call from any thread."""

    def step(self, name: str, video_id: str) -> AbstractContextManager[None]:
        """Time a step (`decode`, `features`, `matching`, `linking`, `guided`, ...); busy thread seconds add up."""

    def add_seconds(self, name: str, video_id: str, seconds: float) -> None:
        """Add to a step's time what was measured elsewhere (a child process, an inner loop)."""

    def count(self, name: str, value: float, video_id: str, **labels: str) -> None:
        """Add to a counter (`frames_sampled`, `pairs_labelled`, ...)."""

    def observe(self, name: str, value: float, video_id: str = "", **labels: str) -> None:
        """Add one measurement to a distribution (`correspondences_per_pair`, `rpc_seconds`, ...)."""

    def set_level(self, name: str, value: float, **labels: str) -> None:
        """Say how much there is of something now (`bus_lag`, ...)."""

    def set_levels(self, name: str, levels: Sequence[tuple[Mapping[str, str], float]]) -> None:
        """Say all there is of something now, by labels; what was said of other labels is gone (`zeb_auc`, ...)."""

    def progress(self, video_id: str, phase: str, done: float, total: float) -> None:
        """Say how far a phase (`fetch`, `decode`, `label`, `propagate`) of a video is; total 0 = unknown."""


class NullTelemetry:
    """Nobody listens."""

    def step(self, name: str, video_id: str) -> AbstractContextManager[None]:
        return nullcontext()

    def add_seconds(self, name: str, video_id: str, seconds: float) -> None:
        pass

    def count(self, name: str, value: float, video_id: str, **labels: str) -> None:
        pass

    def observe(self, name: str, value: float, video_id: str = "", **labels: str) -> None:
        pass

    def set_level(self, name: str, value: float, **labels: str) -> None:
        pass

    def set_levels(self, name: str, levels: Sequence[tuple[Mapping[str, str], float]]) -> None:
        pass

    def progress(self, video_id: str, phase: str, done: float, total: float) -> None:
        pass
