"""One join of two chains: what is merged in which order, what the refit drops, what is replenished, why it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from gim.geometry.robust import RobustFitConfig
from gim.labels.chains import MISSING_LABEL, NO_FIT, TOO_FEW_LINKS, Chain, Guide, Joiner
from gim.labels.config import GuidedConfig, PropagationConfig, RefineConfig
from tests.synthetic import Tracks, random_tracks
from tests.unit.labels.reference import rows_of
from tests.unit.labels.textures import about_the_middle, grid, moved, picture, waves

PLAIN = PropagationConfig(
    min_links=1, refit=None, guided=GuidedConfig(enabled=False), refine=RefineConfig(enabled=False)
)
REFIT = replace(PLAIN, refit=RobustFitConfig(threshold_px=1.0))


class Source:
    """Labels by (start, interval), and the features of a track's frames."""

    def __init__(self, labels: dict[tuple[int, int], np.ndarray] | None = None, tracks: Tracks | None = None) -> None:
        self.labels, self.tracks = labels or {}, tracks
        self.pictures: dict[int, np.ndarray] = {}

    def base(self, start: int, interval: int) -> np.ndarray | None:
        return self.labels.get((start, interval))

    def guide(self, start: int, end: int) -> Guide | None:
        if self.tracks is None:
            return None
        ids0, ids1 = self.tracks.ids[start], self.tracks.ids[end]

        def distance(candidates: np.ndarray) -> np.ndarray:
            return np.where(ids0[candidates[:, 0]] == ids1[candidates[:, 1]], 0.2, 1.0).astype(np.float32)

        keypoints = (self.tracks.keypoints[sample].astype(np.float32) for sample in (start, end))
        return Guide(*keypoints, distance)

    def grey(self, sample: int) -> np.ndarray:
        return self.pictures[sample]


class Watch:
    """Which steps were timed."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self.steps.append(step)
        yield


def joiner(config: PropagationConfig, source: Source | None = None, watch: Watch | None = None) -> Joiner:
    return Joiner(source or Source(), config, watch or Watch())


def points_of(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def chain(points: np.ndarray, *, num_links: int = 0, guided: list[int] | None = None) -> Chain:
    is_guided = np.isin(np.arange(len(points)), guided or [])
    return Chain(points, is_guided, num_links)


FIRST = points_of((1, 1, 10, 10), (2, 2, 20, 20), (3, 3, 30, 30))
SECOND = points_of((30.4, 30, 300, 300), (10, 10.5, 100, 100), (77, 77, 7, 7))


@pytest.mark.parametrize("link", ["mutual", "distance", "rounded"])
def test_links_carry_their_ends_in_order_and_count_the_joins(link: str) -> None:
    config = replace(PLAIN, link=link)
    joined = joiner(config).join(chain(FIRST, num_links=3), chain(SECOND, num_links=1), 0, 4)
    assert isinstance(joined, Chain)
    assert rows_of(joined.points) == [(1, 1, 100, 100), (3, 3, 300, 300)]
    assert joined.num_links == 5
    assert joined.F01 is None
    assert joined.points.dtype == np.float32


def test_what_was_guided_anywhere_on_the_way_stays_guided() -> None:
    joined = joiner(PLAIN).join(chain(FIRST, guided=[2]), chain(SECOND, guided=[1]), 0, 2)
    assert joined.is_guided.tolist() == [True, True]
    joined = joiner(PLAIN).join(chain(FIRST, guided=[1]), chain(SECOND, guided=[0]), 0, 2)
    assert joined.is_guided.tolist() == [False, True]


def test_base_labels_come_first_and_win_where_both_claim_a_place() -> None:
    base = points_of((1, 1, 99, 99), (8, 8, 300, 300), (9, 9, 9, 9))
    joined = joiner(PLAIN).join(chain(FIRST, guided=[0, 2]), chain(SECOND), 0, 2, base)
    assert rows_of(joined.points) == rows_of(base)
    assert not joined.is_guided.any()
    base = points_of((5, 5, 50, 50))
    joined = joiner(PLAIN).join(chain(FIRST, guided=[2]), chain(SECOND), 0, 2, base)
    assert rows_of(joined.points) == [(5, 5, 50, 50), (1, 1, 100, 100), (3, 3, 300, 300)]
    assert joined.is_guided.tolist() == [False, False, True]


@pytest.mark.parametrize("link", ["distance", "rounded"])
def test_the_originals_rules_keep_all_labels_side_by_side(link: str) -> None:
    base = points_of((1, 1, 99, 99), (1, 1, 99, 99))
    joined = joiner(replace(PLAIN, link=link)).join(chain(FIRST), chain(SECOND), 0, 2, base)
    assert len(joined.points) == 4


def test_a_join_without_links_is_no_deeper_than_its_base_label() -> None:
    joined = joiner(PLAIN).join(chain(FIRST, num_links=1), chain(SECOND + 50, num_links=1), 0, 2, FIRST)
    assert (len(joined.points), joined.num_links) == (3, 0)


def test_the_least_number_of_links_is_inclusive() -> None:
    for least, holds in ((2, True), (3, False)):
        joined = joiner(replace(PLAIN, min_links=least)).join(chain(FIRST), chain(SECOND), 0, 2)
        assert isinstance(joined, Chain) if holds else joined == TOO_FEW_LINKS


def test_no_links_are_too_few_and_no_error() -> None:
    for config in (PLAIN, REFIT):
        found = joiner(config).join(chain(FIRST), chain(SECOND + 50), 0, 2)
        assert found in (TOO_FEW_LINKS, NO_FIT)


@pytest.mark.parametrize("points", [None, np.empty((0, 4), np.float32)])
def test_a_base_label_that_is_not_there_is_missing(points: np.ndarray | None) -> None:
    source = Source({} if points is None else {(3, 2): points})
    assert joiner(PLAIN, source).base_chain(3, 2) == MISSING_LABEL


def test_a_base_label_is_a_chain_without_links_whatever_the_least_number() -> None:
    found = joiner(replace(PLAIN, min_links=50), Source({(3, 2): FIRST})).base_chain(3, 2)
    assert isinstance(found, Chain)
    assert (found.num_links, found.is_guided.any(), found.F01) == (0, False, None)
    np.testing.assert_array_equal(found.points, FIRST)


# --- refit, guided re-matching, refinement ----------------------------------------------------------------------------


def half_and_half(tracks: Tracks, middle: int, end: int) -> tuple[Chain, Chain]:
    return (
        chain(tracks.correspondences(0, middle).astype(np.float32)),
        chain(tracks.correspondences(middle, end).astype(np.float32)),
    )


def test_the_refit_drops_what_leaves_the_lines_and_keeps_the_geometry() -> None:
    tracks = random_tracks(1, num_points=1500, num_frames=5, noise_px=0.1)
    first, second = half_and_half(tracks, 2, 4)
    second.points[::6, 3] += 8  # the camera moves sideways: lines are level
    plain, refitted = (joiner(config).join(first, second, 0, 4) for config in (PLAIN, REFIT))
    assert plain.F01 is None
    assert set(rows_of(refitted.points)) < set(rows_of(plain.points))
    assert len(refitted.points) > 0.75 * len(plain.points)
    np.testing.assert_allclose(refitted.points[:, 1], refitted.points[:, 3], atol=4)
    assert refitted.F01.shape == (3, 3)
    assert np.linalg.norm(refitted.F01) == pytest.approx(1)


def test_nothing_that_fits_is_no_fit() -> None:
    few = chain(np.random.default_rng(0).uniform(0, 9, (7, 4)).astype(np.float32))
    assert joiner(REFIT).finish(few, 0, 2) == NO_FIT


def test_guided_rematching_adds_right_ones_and_says_so() -> None:
    tracks = random_tracks(2, num_points=2500, num_frames=5, noise_px=0.1)
    first, second = half_and_half(tracks, 2, 4)
    part = Chain(first.points[::3], first.is_guided[::3], 0)
    config = replace(REFIT, guided=GuidedConfig(enabled=True))
    watch = Watch()
    plain = joiner(REFIT).join(part, second, 0, 4)
    more = joiner(config, Source(tracks=tracks), watch).join(part, second, 0, 4)
    assert watch.steps == ["linking", "fitting", "guided", "fitting"]
    assert more.is_guided.sum() > len(plain.points)
    ids0, ids1 = (
        dict(zip(rows_of(tracks.keypoints[frame].astype(np.float32)), tracks.ids[frame], strict=True))
        for frame in (0, 4)
    )
    guided = rows_of(more.points[more.is_guided])
    assert np.mean([ids0[row[:2]] == ids1[row[2:]] for row in guided]) > 0.99
    assert (
        len({row[:2] for row in rows_of(more.points)})
        == len({row[2:] for row in rows_of(more.points)})
        == len(more.points)
    )
    assert isinstance(joiner(config, Source()).join(part, second, 0, 4), Chain)  # no sparse matcher: nothing to add


def test_refinement_moves_the_ends_and_in_the_end_keeps_what_it_confirms() -> None:
    texture, H = waves(3), about_the_middle(np.eye(2), (4.4, 2.7))
    source = Source()
    source.pictures = {0: picture(texture), 4: picture(texture, H)}
    for image in source.pictures.values():
        image[10:50, 10:60] = 128  # nothing can be confirmed here, and nothing refuted
    points0 = grid(20, 7.0)
    truth = moved(H, points0)
    start = truth + np.random.default_rng(0).uniform(-0.3, 0.3, truth.shape)
    wrong = np.arange(0, len(start), 20)
    start[wrong, 0] += 12  # on their lines: only the pictures tell
    config = replace(REFIT, refit=RobustFitConfig(threshold_px=3.0), refine=RefineConfig(enabled=True))
    watch = Watch()
    found = joiner(config, source, watch).finish(chain(np.hstack([points0, start]).astype(np.float32)), 0, 4)
    assert "refining" in watch.steps
    final, confirmed_share = joiner(config, source).final(found, 0, 4)
    assert confirmed_share == 1.0  # enough are confirmed, so they alone are kept
    assert 0 < len(final.points) < len(found.points)
    at = {row[:2]: index for index, row in enumerate(rows_of(np.hstack([points0, truth]).astype(np.float32)))}
    rows = [at[row[:2]] for row in rows_of(final.points)]
    assert not set(rows) & set(wrong)
    assert len(rows) > 0.4 * len(points0)
    before, after = (np.linalg.norm(ends - truth[rows], axis=1) for ends in (start[rows], final.points[:, 2:]))
    assert np.median(after) < 0.5 * np.median(before)


def test_the_last_fit_is_done_once_and_only_where_the_recipe_has_one() -> None:
    tracks = random_tracks(4, num_points=1500, num_frames=5, noise_px=0.1)
    points = tracks.correspondences(0, 4).astype(np.float32)
    points[::5, 3] += 6
    kept = chain(points, num_links=2)
    assert joiner(PLAIN).final(kept, 0, 4) == (kept, 0.0)
    last, _ = joiner(replace(PLAIN, final_fit=RobustFitConfig())).final(kept, 0, 4)
    assert len(last.points) < len(points)
    assert (last.num_links, last.F01 is not None) == (2, True)
    none = joiner(replace(PLAIN, final_fit=RobustFitConfig())).final(chain(points[:5]), 0, 4)
    assert none is None


def test_a_join_depends_on_its_samples_and_settings_alone() -> None:
    tracks = random_tracks(5, num_points=1500, num_frames=5, noise_px=0.5, outlier_share=0.2)
    first, second = half_and_half(tracks, 2, 4)
    config = replace(REFIT, guided=GuidedConfig(enabled=True))
    one, again = (joiner(config, Source(tracks=tracks)).join(first, second, 0, 4) for _ in range(2))
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(one.F01, again.F01)
