"""Label propagation: from base labels of near frames to correspondences of frames far apart.

GIM (ICLR 2024), Sec. 3.1: chain the labels of neighbouring pairs, double the interval of every pair that holds, keep
the most distant pair of each start. Pure: labels and features come through a `LabelSource`, nothing is read or written.

Memory is bounded by how far chains reach, not by the length of the shot: starts are worked off in blocks, chains ahead
are made when a block asks for them, and forgotten once no later start can.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from gim.errors import ConfigError
from gim.labels.base_only import BaseOnly
from gim.labels.chains import MAX_INTERVAL, MISSING_LABEL, SHOT_END, Chain, Joiner, Reach, RunAll
from gim.labels.config import PropagationConfig
from gim.labels.greedy import Greedy

_BLOCK = 32  # starts worked off together: enough for every thread, few enough to bound what is held


def propagate_shot(
    first_sample: int,
    num_samples: int,
    joiner: Joiner,
    base_intervals: Sequence[int],
    *,
    run_all: RunAll | None = None,
) -> Iterator[list[Reach]]:
    """The most distant pair that holds from every sample of a shot.

    Args:
        first_sample: of the shot.
        num_samples: of the shot; nothing beyond is asked for.
        joiner: labels, and the recipe's rules for a join.
        base_intervals: intervals with base labels, in samples, ascending.
        run_all: applies a function to independent items, results in order (threads); None: one after the other.

    Yields:
        Blocks of `Reach`, one for every sample but the last, in order of samples.

    Raises:
        ConfigError: the recipe's intervals cannot be doubled into each other.
    """
    check_intervals(joiner.config, base_intervals)
    last = first_sample + num_samples - 1
    run_all = run_all or _one_by_one
    rules: dict[str, type[Greedy | BaseOnly | _Doubling]] = {"greedy": Greedy, "none": BaseOnly, "double": _Doubling}
    rule = rules[joiner.config.extend](joiner, base_intervals, last, run_all)
    for start in range(first_sample, last, _BLOCK):
        block = range(start, min(start + _BLOCK, last))
        yield rule.farthest(block)
        rule.forget_before(block.stop)


class _Doubling:
    """Chains of interval unit * 2^level, made on demand and shared by all starts."""

    def __init__(self, joiner: Joiner, base_intervals: Sequence[int], last: int, run_all: RunAll) -> None:
        self._joiner = joiner
        self._unit = base_intervals[0]
        self._merged = frozenset(joiner.config.merge_base_intervals) & frozenset(base_intervals)
        self._last = last
        self._run_all = run_all
        self._chains: list[dict[int, Chain | str]] = []

    def farthest(self, starts: Sequence[int]) -> list[Reach]:
        """The most distant pair of each start."""
        reached = {start: Reach(start, start, None, MISSING_LABEL) for start in starts}
        top = dict.fromkeys(starts, -1)  # the last level that holds
        level, going_on = 0, list(starts)
        while going_on:
            self._make(level, going_on)
            for start in going_on:
                chain = self._chains[level][start]
                if isinstance(chain, Chain):
                    reached[start] = Reach(start, start + self._interval(level), chain, "")
                    top[start] = level
                else:
                    reached[start] = replace(reached[start], ended=chain)
            # Where a near label is missing or weak, a base label farther on may still hold.
            may_skip = self._interval(level) < max(self._merged, default=0)
            going_on = [start for start in going_on if top[start] == level or may_skip]
            level += 1
        return [reached[start] for start in starts]

    def forget_before(self, start: int) -> None:
        """Drop chains that no start from here on can ask for."""
        for chains in self._chains:
            for old in [key for key in chains if key < start]:
                del chains[old]

    def _interval(self, level: int) -> int:
        return self._unit << level

    def _make(self, level: int, starts: Iterable[int]) -> None:
        """Have the chains of one level from these starts, and all they are made of."""
        while len(self._chains) <= level:
            self._chains.append({})
        chains = self._chains[level]
        missing = sorted({start for start in starts if start not in chains})
        if not missing:
            return
        if level:
            self._make(level - 1, missing)
            half = self._interval(level - 1)
            holding = [s for s in missing if isinstance(self._chains[level - 1][s], Chain)]
            self._make(level - 1, [s + half for s in holding if s + 2 * half <= self._last])
        chains.update(zip(missing, self._run_all(lambda start: self._chain(level, start), missing), strict=True))

    def _chain(self, level: int, start: int) -> Chain | str:
        interval = self._interval(level)
        end = start + interval
        if end > self._last:
            return SHOT_END
        if interval > self._joiner.config.max_interval:
            return MAX_INTERVAL
        if not level:
            return self._joiner.base_chain(start, interval)
        base = self._joiner.base_chain(start, interval) if interval in self._merged else MISSING_LABEL
        first = self._chains[level - 1][start]
        second = self._chains[level - 1].get(start + interval // 2, MISSING_LABEL)
        if isinstance(first, Chain) and isinstance(second, Chain):
            return self._joiner.join(first, second, start, end, base.points if isinstance(base, Chain) else None)
        if isinstance(base, Chain):
            return self._joiner.finish(base, start, end)
        return first if isinstance(first, str) else str(second)


def check_intervals(config: PropagationConfig, base_intervals: Sequence[int]) -> None:
    """Refuse base intervals that a recipe's rule cannot chain.

    Raises:
        ConfigError: not ascending and positive; or, for doubling, not each twice the one before.
    """
    if not base_intervals or base_intervals[0] < 1 or list(base_intervals) != sorted(set(base_intervals)):
        raise ConfigError(f"pairing.base_intervals={tuple(base_intervals)}: expected ascending positive numbers")
    doubled = [base_intervals[0] << level for level in range(len(base_intervals))]
    if config.extend == "double" and list(base_intervals) != doubled:
        raise ConfigError(
            f"pairing.base_intervals={tuple(base_intervals)}: propagation.extend=double needs each twice the one "
            f"before, like {tuple(doubled)}"
        )


def _one_by_one(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]
