"""The published code's propagation: one chain per start, grown at the largest base interval, shortened where it breaks.

Facts in the original's order: cut the way into segments of the largest interval; a segment's label is its base label
together with what the smaller intervals give over the same segment, if they reach its end; fold from the left by
linking; when a segment fails, shorten it by the smallest interval and try again; the first success ends the chain. A
start that gets no farther than one largest interval is tried again with the smaller intervals alone.

One thing is mended: a segment without any label ends the chain (the original skipped it and linked its neighbours).
"""

from collections.abc import Sequence

import numpy as np

from gim.labels.chains import MAX_INTERVAL, MISSING_LABEL, SHOT_END, TOO_FEW_LINKS, Chain, Joiner, Reach, RunAll

_MIN_START_MATCHES = 33  # a start's labels need more than 32 correspondences at the largest interval


class Greedy:
    """Chains of one shot under the greedy rule."""

    def __init__(self, joiner: Joiner, base_intervals: Sequence[int], last: int, run_all: RunAll) -> None:
        self._joiner = joiner
        self._intervals = tuple(base_intervals)
        self._last = last
        self._run_all = run_all
        self._labels: dict[tuple[int, int, int], Chain | None] = {}  # (start, length, intervals) -> segment label

    def forget_before(self, start: int) -> None:
        """Drop segment labels that no start from here on can ask for."""
        for key in [key for key in self._labels if key[0] < start]:
            del self._labels[key]

    def farthest(self, starts: Sequence[int]) -> list[Reach]:
        """The most distant pair of each start."""
        return self._run_all(self._farthest, starts)

    def _farthest(self, start: int) -> Reach:
        if not self._may_start(start):
            ended = SHOT_END if start + 2 * self._intervals[-1] > self._last else MISSING_LABEL
            return Reach(start, start, None, ended)
        limit = min(self._last, start + self._joiner.config.max_interval)
        for count in range(len(self._intervals), 0, -1):
            intervals = self._intervals[:count]
            end, chain, ended = self._propagate(start, limit, intervals)
            if end - start > intervals[-1]:
                break
        return Reach(start, end, chain, ended)

    def _may_start(self, start: int) -> bool:
        """Labels exist where the original asks: at i and i + s for each interval s, four in a row for the least.

        At the largest interval they need more than 32 correspondences.
        """
        smallest, largest = self._intervals[0], self._intervals[-1]
        needed = [(start + step * smallest, smallest, 1) for step in range(4)]
        needed += [(first, i, 1) for i in self._intervals[1:-1] for first in (start, start + i)]
        needed += [(first, largest, _MIN_START_MATCHES) for first in (start, start + largest)]
        return all(
            first + interval <= self._last and self._num_base(first, interval) >= least
            for first, interval, least in needed
        )

    def _propagate(self, start: int, limit: int, intervals: Sequence[int]) -> tuple[int, Chain | None, str]:
        """Fold segments of the largest interval from `start` towards `limit`."""
        end, chain = start, None
        while end < limit:
            whole = min(intervals[-1], limit - end)
            reached = None
            for length in range(whole, 0, -intervals[0]):
                reached = self._step(chain, start, end, length, intervals)
                if reached is not None:
                    break
            if reached is None:
                return end, chain, TOO_FEW_LINKS if chain is not None else MISSING_LABEL
            end, chain = end + length, reached
            if length < whole:
                return end, chain, TOO_FEW_LINKS
        return end, chain, SHOT_END if end == self._last else MAX_INTERVAL

    def _step(self, chain: Chain | None, start: int, end: int, length: int, intervals: Sequence[int]) -> Chain | None:
        label = self._segment_label(end, length, intervals)
        if label is None:
            return None
        if chain is None:
            return label
        joined = self._joiner.join(chain, label, start, end + length)
        return joined if isinstance(joined, Chain) else None

    def _segment_label(self, start: int, length: int, intervals: Sequence[int]) -> Chain | None:
        """Base labels of the largest interval over the segment, then what the smaller intervals give."""
        key = (start, length, len(intervals))
        if key not in self._labels:
            self._labels[key] = self._make_segment_label(start, length, intervals)
        return self._labels[key]

    def _make_segment_label(self, start: int, length: int, intervals: Sequence[int]) -> Chain | None:
        parts: list[Chain] = []
        if length == intervals[-1]:
            base = self._joiner.base_chain(start, length)
            if isinstance(base, Chain):
                parts.append(base)
        if len(intervals) > 1:
            end, chain, _ = self._propagate(start, start + length, intervals[:-1])
            if chain is not None and end == start + length:
                parts.append(chain)
        if not parts:
            return None
        points = np.vstack([part.points for part in parts])
        is_guided = np.concatenate([part.is_guided for part in parts])
        return Chain(points, is_guided, max(part.num_links for part in parts))

    def _num_base(self, start: int, interval: int) -> int:
        chain = self._joiner.base_chain(start, interval)
        return len(chain.points) if isinstance(chain, Chain) else 0
