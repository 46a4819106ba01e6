"""One chain of correspondences and how two chains join: link, merge, refit, replenish.

This is the step every recipe shares; which steps are tried in which order is `gim.labels.propagation`'s business.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gim.geometry.robust import RobustFitConfig, fit_fundamental, pair_seed
from gim.labels.config import PropagationConfig
from gim.labels.guided import DescriptorDistance, rematch_guided
from gim.labels.linking import link_points, one_per_pixel_pair, one_to_one
from gim.labels.refine import refine_points
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array

RunAll = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]  # maps over independent items, results in order
Timer = Callable[[str], AbstractContextManager[None]]

SHOT_END = "shot_end"  # the shot is over: the scene allows no more
MISSING_LABEL = "missing_label"  # no base label where one is needed
TOO_FEW_LINKS = "too_few_links"
NO_FIT = "no_fit"
MAX_INTERVAL = "max_interval"


@dataclass(frozen=True, slots=True)
class Chain:
    """Correspondences of two samples of one shot, matched directly or propagated."""

    points: Float32Array  # [N, 4] rows (x0, y0, x1, y1), pixels
    is_guided: BoolArray  # [N] found by guided re-matching somewhere on the way
    num_links: int  # joins on the way; 0 = base label
    F01: Float64Array | None = None  # of the last refit, if the recipe refits


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one start got."""

    start: int  # sample
    end: int  # sample; equals start when nothing holds
    chain: Chain | None
    ended: str  # why it goes no further


@dataclass(frozen=True, slots=True)
class Guide:
    """What guided re-matching needs of two frames."""

    keypoints0: Float32Array
    keypoints1: Float32Array
    distance: DescriptorDistance


class LabelSource(Protocol):
    """What propagation reads of one shot; samples are positions in the frame manifest."""

    def base(self, start: int, interval: int) -> Float32Array | None:
        """Fused base correspondences float32 [N, 4] of samples start and start + interval; None when there are none."""

    def guide(self, start: int, end: int) -> Guide | None:
        """Features of two samples; None when no sparse matcher takes part."""

    def grey(self, sample: int) -> Uint8Array:
        """The image of a sample, uint8 [H, W]."""


@dataclass(frozen=True, slots=True)
class Joiner:
    """Joins chains by the rules of one recipe."""

    source: LabelSource
    config: PropagationConfig
    timer: Timer

    def base_chain(self, start: int, interval: int) -> Chain | str:
        """The base label of two samples as a chain, or why there is none."""
        points = self.source.base(start, interval)
        if points is None or not len(points):
            return MISSING_LABEL
        return Chain(points, np.zeros(len(points), np.bool_), 0)

    def join(self, first: Chain, second: Chain, start: int, end: int, base: Float32Array | None = None) -> Chain | str:
        """Chain `first` (from sample `start`) and `second` (to sample `end`) into one, or say why that fails.

        Args:
            first: from `start` to a sample in the middle.
            second: from that sample to `end`.
            start: first sample.
            end: last sample.
            base: base correspondences of the same two samples, merged with the links.
        """
        with self.timer("linking"):
            chain = self._link(first, second)
            if base is not None:
                chain = self._merge(chain, base)
        return self.finish(chain, start, end)

    def finish(self, chain: Chain, start: int, end: int) -> Chain | str:
        """Refit and replenish a chain as the recipe says, and require its least number of links."""
        refit = self.config.refit
        if refit is not None:
            fitted = self._fit(chain, refit, start, end)
            if fitted is None:
                return NO_FIT
            if self.config.guided.enabled:
                fitted = self._replenish(fitted, start, end)
            if self.config.refine.enabled:
                fitted = self._refine(fitted, start, end)
            chain = self._fit(fitted, refit, start, end) or fitted
        return chain if len(chain.points) >= self.config.min_links else TOO_FEW_LINKS

    def final(self, chain: Chain, start: int, end: int) -> tuple[Chain, float] | None:
        """The chain as it is kept, and the share of it that patch alignment confirms.

        After the recipe's last fit, if it has one. Where enough correspondences are confirmed, only they are kept.
        """
        if self.config.final_fit is not None:
            fitted = self._fit(chain, self.config.final_fit, start, end)
            if fitted is None:
                return None
            chain = fitted
        if not self.config.refine.enabled:
            return chain, 0.0
        with self.timer("refining"):
            found = refine_points(self.source.grey(start), self.source.grey(end), chain.points, self.config.refine)
        confirmed = found.is_confirmed
        if np.count_nonzero(confirmed) < self.config.min_links:
            return chain, float(confirmed.mean())
        return Chain(found.points[confirmed], chain.is_guided[confirmed], chain.num_links, chain.F01), 1.0

    def _link(self, first: Chain, second: Chain) -> Chain:
        rows = link_points(
            first.points[:, 2:],
            second.points[:, :2],
            rule=self.config.link,
            max_distance_px=self.config.link_distance_px,
        )
        points = np.hstack([first.points[rows[:, 0], :2], second.points[rows[:, 1], 2:]])
        is_guided = first.is_guided[rows[:, 0]] | second.is_guided[rows[:, 1]]
        if self.config.link == "distance":
            kept = one_per_pixel_pair(points)
            points, is_guided = points[kept], is_guided[kept]
        return Chain(points, is_guided, first.num_links + second.num_links + 1)

    def _merge(self, chain: Chain, base: Float32Array) -> Chain:
        # Matched directly beats chained: base labels come first and win where both claim a place.
        points = np.vstack([base, chain.points])
        is_guided = np.r_[np.zeros(len(base), np.bool_), chain.is_guided]
        if self.config.link == "mutual":
            rows = one_to_one(points)
            points, is_guided = points[rows], is_guided[rows]
        return Chain(points, is_guided, chain.num_links if len(chain.points) else 0)

    def _fit(self, chain: Chain, config: RobustFitConfig, start: int, end: int) -> Chain | None:
        with self.timer("fitting"):
            fit = fit_fundamental(chain.points, config, seed=pair_seed(config.seed, start, end))
        if fit is None:
            return None
        return Chain(chain.points[fit.inliers], chain.is_guided[fit.inliers], chain.num_links, fit.F01)

    def _replenish(self, chain: Chain, start: int, end: int) -> Chain:
        guide = self.source.guide(start, end)
        if guide is None or chain.F01 is None:
            return chain
        with self.timer("guided"):
            found = rematch_guided(
                chain.points, chain.F01, guide.keypoints0, guide.keypoints1, guide.distance, self.config.guided
            )
        points = np.vstack([chain.points, found])
        is_guided = np.r_[chain.is_guided, np.ones(len(found), np.bool_)]
        return Chain(points, is_guided, chain.num_links, chain.F01)

    def _refine(self, chain: Chain, start: int, end: int) -> Chain:
        grey0, grey1 = self.source.grey(start), self.source.grey(end)
        with self.timer("refining"):
            found = refine_points(grey0, grey1, chain.points, self.config.refine)
        kept = found.is_plausible
        return Chain(found.points[kept], chain.is_guided[kept], chain.num_links, chain.F01)
