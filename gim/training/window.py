"""Sums of what steps say, from one point of the curves to the next: each rank adds up its own. Imports no torch."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gim.training.step import StepResult


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of numbers, and of how many."""

    total: float = 0.0
    count: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> "Sum":
        """Of those that are numbers."""
        finite = [value for value in values if math.isfinite(value)]
        return cls(sum(finite), len(finite))

    @property
    def mean(self) -> float:
        """Not a number, where there are none."""
        return self.total / self.count if self.count else math.nan

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total, self.count + other.count)


@dataclass
class Window:
    """What the steps of one rank, or of all, came to since the last point.

    Every micro-batch counts as much as another, whichever rank it was of, as it does in the gradients.
    """

    num_pairs: int = 0  # over all ranks
    seconds: float = 0.0  # of each rank, added up
    wait_seconds: float = 0.0  # the same, for data
    num_bad: int = 0  # steps; of every rank the same ones
    sums: dict[str, Sum] = field(default_factory=dict)
    skipped: dict[tuple[str, str], int] = field(default_factory=dict)  # (part, reason) -> pairs

    def add_step(self, result: "StepResult", *, num_pairs: int, seconds: float) -> None:
        """Take in one step.

        Args:
            result: of this rank.
            num_pairs: of this step, over all ranks.
            seconds: that it took.
        """
        self.num_pairs += num_pairs
        self.seconds += seconds
        self.wait_seconds += result.wait_seconds
        self.num_bad += not result.is_good
        self._add_sums({**result.sums, "gradient_norm": Sum.of([result.gradient_norm])})
        for item in result.seen:
            self._add_skipped({(item.part, reason): count for reason, count in item.skipped.items()})

    @classmethod
    def merged(cls, windows: Iterable["Window"]) -> "Window":
        """The windows of all ranks, over the same steps, as one."""
        first, *others = windows
        whole = cls(first.num_pairs, num_bad=first.num_bad)
        for window in (first, *others):
            whole.seconds += window.seconds
            whole.wait_seconds += window.wait_seconds
            whole._add_sums(window.sums)
            whole._add_skipped(window.skipped)
        return whole

    def values(self) -> dict[str, float]:
        """Of a point: means, "data_wait_share", "bad_steps", "skipped/<part>/<reason>"."""
        values: dict[str, float] = {name: item.mean for name, item in self.sums.items() if item.count}
        values["data_wait_share"] = self.wait_seconds / max(self.seconds, 1e-9)
        values["bad_steps"] = self.num_bad
        return values | {f"skipped/{part}/{reason}": count for (part, reason), count in self.skipped.items()}

    def _add_sums(self, sums: Mapping[str, Sum]) -> None:
        for name, item in sums.items():
            self.sums[name] = self.sums.get(name, Sum()) + item

    def _add_skipped(self, skipped: Mapping[tuple[str, str], int]) -> None:
        for where, count in skipped.items():
            self.skipped[where] = self.skipped.get(where, 0) + count
