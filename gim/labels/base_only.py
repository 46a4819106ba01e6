"""No propagation: of each start the most distant base label is kept as it is. What the paper's ablation leaves out."""

from collections.abc import Sequence

from gim.labels.chains import MISSING_LABEL, SHOT_END, Chain, Joiner, Reach, RunAll


class BaseOnly:
    """The base labels of one shot, joined with nothing (GIM, Table 2, "no propagation")."""

    def __init__(self, joiner: Joiner, base_intervals: Sequence[int], last: int, run_all: RunAll) -> None:
        self._joiner = joiner
        self._intervals = tuple(base_intervals)
        self._last = last
        self._run_all = run_all

    def forget_before(self, start: int) -> None:
        """Nothing is held."""

    def farthest(self, starts: Sequence[int]) -> list[Reach]:
        """The most distant base label of each start."""
        return self._run_all(self._farthest, starts)

    def _farthest(self, start: int) -> Reach:
        ended = MISSING_LABEL
        for interval in reversed(self._intervals):
            end = start + interval
            if end > self._last:
                ended = SHOT_END
                continue
            chain = self._joiner.base_chain(start, interval)
            if isinstance(chain, Chain):
                return Reach(start, end, chain, ended)
        return Reach(start, start, None, ended)
