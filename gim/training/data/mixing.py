"""Which part of the mixture a micro-batch is of: drawn for each by its step and lane, whatever came before."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gim.errors import ConfigError
from gim.records import Int64Array
from gim.training.data.hashing import key_of, mixed, uniform


class Mixture:
    """Draws parts by their shares."""

    def __init__(self, shares: Sequence[float], *, seed: int) -> None:
        """Set the shares.

        Args:
            shares: of each part, relative to the others; 0: it is never drawn.
            seed: another one draws others.

        Raises:
            ConfigError: a share is negative, or none is positive.
        """
        weights = np.asarray(shares, np.float64)
        if not len(weights) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
            raise ConfigError(f"mix: shares {tuple(shares)}: each is at least 0, and one is more")
        self._ends = np.cumsum(weights) / weights.sum()
        self._ends[np.flatnonzero(weights)[-1] :] = 1.0  # whatever the sum was rounded to
        self._key = np.uint64(key_of("mixture", seed))

    def part(self, step: int, lane: int) -> int:
        """The place of the part that a lane gives in a step."""
        return int(self._drawn([step], lane)[0])

    def counts(self, num_steps: int, lane: int) -> list[int]:
        """How many micro-batches of each part a lane gives in the first so many steps."""
        drawn = self._drawn(np.arange(num_steps), lane)
        return [int(count) for count in np.bincount(drawn, minlength=len(self._ends))]

    def _drawn(self, steps: npt.ArrayLike, lane: int) -> Int64Array:
        scattered = mixed(np.asarray(steps, np.uint64) ^ self._key)
        drawn = uniform(scattered + np.uint64(lane))
        return np.asarray(np.searchsorted(self._ends, drawn, side="right"), np.int64)
