"""Slow, obvious versions of linking, guided re-matching and propagation: loops over single correspondences."""

import math
from collections.abc import Callable

import numpy as np

Point = tuple[float, float]
Row = tuple[float, float, float, float]
Base = Callable[[int, int], list[Row] | None]


def rows_of(points: np.ndarray) -> list[Row]:
    return [tuple(float(value) for value in row) for row in points]


def distance(a: Point, b: Point) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def nearest(point: Point, others: list[Point]) -> float:
    return min((distance(point, other) for other in others), default=math.inf)


def link_mutual(first: list[Row], second: list[Row], max_distance: float) -> list[Row]:
    """Pairs of points nearest to each other and closer than the limit; each row used once, the first wins."""
    linked, used = [], set()
    for x0, y0, mx, my in first:
        gaps = [distance((mx, my), row[:2]) for row in second]
        if not gaps or min(gaps) >= max_distance:
            continue
        j = gaps.index(min(gaps))
        if nearest(second[j][:2], [row[2:] for row in first]) == gaps[j] and j not in used:
            used.add(j)
            linked.append((x0, y0, *second[j][2:]))
    return linked


def link_distance(first: list[Row], second: list[Row], max_distance: float) -> list[Row]:
    """Every two points closer than the limit, one per pair of rounded pixels."""
    linked, seen = [], set()
    for row01 in first:
        for row12 in second:
            joined = (*row01[:2], *row12[2:])
            entry = tuple(round(value) for value in joined)
            if distance(row01[2:], row12[:2]) < max_distance and entry not in seen:
                seen.add(entry)
                linked.append(joined)
    return linked


def link_rounded(first: list[Row], second: list[Row], max_distance: float) -> list[Row]:
    """The last correspondence on each rounded pixel of the middle frame, where both pairs have one."""
    ends = {(round(row[2]), round(row[3])): i for i, row in enumerate(first)}
    starts = {(round(row[0]), round(row[1])): row for row in second}
    return [
        (*first[i][:2], *starts[pixel][2:]) for pixel, i in sorted(ends.items(), key=lambda e: e[1]) if pixel in starts
    ]


LINKS = {"mutual": link_mutual, "distance": link_distance, "rounded": link_rounded}


def one_to_one(rows: list[Row]) -> list[Row]:
    for part in (slice(0, 2), slice(2, 4)):
        seen: set[Point] = set()
        kept = []
        for row in rows:
            if row[part] not in seen:
                seen.add(row[part])
                kept.append(row)
        rows = kept
    return rows


class SlowDoubling:
    """Recursion without memory: the chain of a start and a level is made of two chains of the level below."""

    def __init__(self, base: Base, last: int, *, link: str, min_links: int, unit: int, merged: tuple[int, ...]) -> None:
        self.base, self.last, self.link, self.min_links = base, last, link, min_links
        self.unit, self.merged = unit, merged

    def chain(self, start: int, level: int) -> list[Row] | None:
        interval = self.unit * 2**level
        if start + interval > self.last:
            return None
        if level == 0:
            return self.base(start, interval)
        direct = self.base(start, interval) if interval in self.merged else None
        first = self.chain(start, level - 1)
        second = self.chain(start + interval // 2, level - 1)
        if first is None or second is None:
            joined = direct
        else:
            joined = LINKS[self.link](first, second, 1.0)
            if direct is not None:
                joined = direct + joined
                if self.link == "mutual":
                    joined = one_to_one(joined)
        return joined if joined is not None and len(joined) >= self.min_links else None

    def farthest(self, start: int) -> tuple[int, list[Row] | None]:
        end, best, level = start, None, 0
        while start + self.unit * 2**level <= self.last:
            chain = self.chain(start, level)
            if chain is not None:
                end, best = start + self.unit * 2**level, chain
            elif self.unit * 2**level >= max(self.merged, default=0):
                break
            level += 1
        return end, best


class SlowGreedy:
    """The published code's rule, written down as the description reads."""

    def __init__(self, base: Base, last: int, *, min_links: int, intervals: tuple[int, ...]) -> None:
        self.base, self.last, self.min_links, self.intervals = base, last, min_links, intervals

    def has(self, start: int, interval: int, least: int = 1) -> bool:
        return start + interval <= self.last and len(self.base(start, interval) or []) >= least

    def may_start(self, i: int) -> bool:
        s1, *middle, s3 = self.intervals
        return (
            self.has(i, s3, 33)
            and self.has(i + s3, s3, 33)
            and all(self.has(i, s) and self.has(i + s, s) for s in middle)
            and all(self.has(i + k * s1, s1) for k in range(4))
        )

    def label(self, start: int, length: int, intervals: tuple[int, ...]) -> list[Row]:
        rows: list[Row] = []
        if length == intervals[-1]:
            rows += self.base(start, length) or []
        if len(intervals) > 1:
            end, chained = self.propagate(start, start + length, intervals[:-1])
            if end == start + length:
                rows += chained
        return rows

    def propagate(self, start: int, target: int, intervals: tuple[int, ...]) -> tuple[int, list[Row]]:
        end, chained = start, []
        while end < target:
            whole = min(intervals[-1], target - end)
            length = whole
            while length > 0:
                rows = self.label(end, length, intervals)
                if rows and end == start:
                    break
                if rows:
                    rows = link_rounded(chained, rows, 1.0)
                    if len(rows) >= self.min_links:
                        break
                length -= intervals[0]
            if length <= 0:
                return end, chained
            end, chained = end + length, rows
            if length < whole:
                return end, chained
        return end, chained

    def farthest(self, start: int) -> tuple[int, list[Row] | None]:
        if not self.may_start(start):
            return start, None
        for count in range(len(self.intervals), 0, -1):
            end, chained = self.propagate(start, self.last, self.intervals[:count])
            if end - start > self.intervals[count - 1]:
                break
        return end, chained


def rematch(
    links: list[Row],
    F01: np.ndarray,
    keypoints0: list[Point],
    keypoints1: list[Point],
    descriptor_distance: Callable[[int, int], float],
    config: object,
) -> set[Row]:
    """Guided re-matching, one keypoint at a time."""
    taken0 = {row[:2] for row in links}
    candidates: dict[int, list[tuple[float, int]]] = {}
    for i, point in enumerate(keypoints0):
        if point in taken0 or len(links) < config.neighbours:
            continue
        near = sorted(links, key=lambda row: distance(row[:2], point))[: config.neighbours]
        if distance(near[min(2, config.neighbours - 1)][:2], point) >= config.support_px:
            continue
        weights = [1 / (distance(row[:2], point) + 3.0) for row in near]
        shift = [
            sum(w * (row[2 + axis] - row[axis]) for w, row in zip(weights, near, strict=True)) / sum(weights)
            for axis in (0, 1)
        ]
        predicted = (point[0] + shift[0], point[1] + shift[1])
        line = F01 @ np.array([*point, 1.0])
        for j, other in enumerate(keypoints1):
            # The end of a link may have been refined away from its keypoint: what lies near it is taken.
            if nearest(other, [row[2:] for row in links]) < 1.5 or distance(predicted, other) > config.window_px:
                continue
            if abs(line @ np.array([*other, 1.0])) / math.hypot(line[0], line[1]) >= config.line_px:
                continue
            candidates.setdefault(i, []).append((descriptor_distance(i, j), j))
    best = {i: min(found) for i, found in candidates.items()}
    claimed = {j: min(d for found in candidates.values() for d, k in found if k == j) for _, j in best.values()}
    accepted = []
    for i, (gap, j) in best.items():
        elsewhere = [
            d
            for d, k in candidates[i]
            if max(abs(keypoints1[k][0] - keypoints1[j][0]), abs(keypoints1[k][1] - keypoints1[j][1])) > 1.5
        ]
        if gap < config.ratio * min(elsewhere, default=math.inf) and gap < config.max_distance and gap <= claimed[j]:
            accepted.append((gap, i, j))
    rows = [(*keypoints0[i], *keypoints1[j]) for _, i, j in sorted(accepted)]
    return set(one_to_one(rows))
