"""Pictures of the fixed pairs: the same pairs always, before beside after, and nothing that goes wrong ends a run."""

from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import DiskFull
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources, WarpMatcher
from gim.records import Correspondences, DenseWarp
from gim.training.looking import pictures
from gim.training.looking.fixed import fixed_pairs, without_padding
from gim.training.looking.matching import matcher_of
from gim.training.looking.pictures import FixedPairs, Seen, draw_pair
from gim.training.looking.runs import stored_pictures
from gim.training.models.xfeat_lighterglue import build
from gim.training.samples import Labels
from gim.weights.config import WeightsConfig
from tests.unit.training.data.films import SHIFT
from tests.unit.training.run_small import Pixels, changed, small_dataset, train_small, with_held_out

DRAWN = changed(sample={"width": 96, "height": 64}, keep={"pictures_every_pairs": 16, "num_pictures": 3})


class Shifts:
    """A matcher whose weights say by how much everything is moved."""

    def __init__(self, weights):
        self.shift = float(next(iter(weights.values())).sum())
        self.images = []

    def match(self, image0, image1):
        self.images.append((image0, image1))
        x0 = np.random.default_rng(0).uniform((10, 10), (80, 50), (40, 2))
        points = np.hstack([x0, x0 + SHIFT + (0, self.shift)]).astype(np.float32)
        return Correspondences(points, np.ones(len(points), np.float32))


@contextmanager
def shifting(made: list):
    """Inside the block every run's matcher is `Shifts`, and its network `Pixels`; those that are made are noted."""

    @contextmanager
    def make(_model, published, _resources):
        made.append(Shifts(published))
        yield made[-1]

    with (
        mock.patch.object(pictures, "matcher_of", make),
        mock.patch.object(pictures, "build_trainable", lambda _, settings, __: Pixels(**settings)),
    ):
        yield


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


# --- which pairs ------------------------------------------------------------------------------------------------------


def test_fixed_pairs_are_held_out_ones_spread_over_the_data_and_always_the_same(store):
    dataset = with_held_out(small_dataset(store, shards=(4, 4)))
    first, again = (fixed_pairs(store, dataset, DRAWN, {}) for _ in range(2))
    held_out = dataset.videos[-1].video_id
    assert [sample.name.partition("/")[0] for sample in first] == [held_out] * 3
    assert len({sample.name for sample in first}) == 3
    other_seed = fixed_pairs(store, dataset, changed(DRAWN, loop={"seed": 1}), {})
    for one, *others in zip(first, again, other_seed, strict=True):
        for other in others:
            assert one.name == other.name
            assert np.array_equal(one.image1, other.image1)
            assert np.array_equal(one.truth.points, other.truth.points)
        assert np.allclose(one.truth.points[:, 2:] - one.truth.points[:, :2], SHIFT, atol=1e-3)


def test_without_held_out_pairs_those_of_the_training_are_taken_and_no_more_than_there_are(store):
    dataset = small_dataset(store, shards=(1,))
    config = changed(DRAWN, mix={"video": 1.0, "homography": 1.0})
    assert [sample.part for sample in fixed_pairs(store, dataset, config, {})] == ["video", "video"]
    only_warped = changed(DRAWN, mix={"video": 0.0, "homography": 1.0})
    assert {sample.part for sample in fixed_pairs(store, dataset, only_warped, {})} == {"homography"}


def test_a_pair_that_gives_no_sample_is_passed_over(store):
    dataset = small_dataset(store, jpeg=b"no jpeg")
    assert fixed_pairs(store, dataset, DRAWN, {}) == []


def test_padding_is_cut_off_and_nothing_else_moves(store):
    config = changed(DRAWN, sample={"width": 160, "height": 70})  # the film has 96 x 64: as high, and less wide
    dataset = small_dataset(store)
    (sample, *_) = fixed_pairs(store, dataset, config, {})
    assert sample.image0.shape == (70, 105, 3)
    assert sample.valid0.all()
    blank = replace(sample, valid0=np.zeros_like(sample.valid0))
    assert np.array_equal(without_padding(blank).image0, sample.image0)


# --- in a run ---------------------------------------------------------------------------------------------------------


def test_a_run_stores_pictures_with_the_weights_at_the_start_beside_those_of_the_step(store):
    dataset, made = with_held_out(small_dataset(store)), []
    with shifting(made):
        draw = FixedPairs(store, dataset, DRAWN)
        result, heard = train_small(store, dataset, DRAWN, draw=draw)
    assert heard.lines == []
    stored = stored_pictures(store, result.run_id)  # found under the id that the run made
    assert {number: list(steps) for number, steps in stored.items()} == {number: [4, 8] for number in range(3)}
    assert len(made) == 3  # at the start, and of two steps
    torch.manual_seed(DRAWN.loop.seed)
    start = next(iter(Pixels().state_dict().values()))
    assert made[0].shift == pytest.approx(float(start.sum()))
    assert made[1].shift != made[0].shift != made[2].shift
    for before, after in zip(made[0].images, made[1].images, strict=True):
        assert np.array_equal(before[0], after[0])
    picture = codecs.decode_image(store.get(stored[0][8]))
    assert picture.shape[0] > picture.shape[1] / 2  # two rows


def test_pictures_change_nothing_of_a_run(store, tmp_path):
    dataset = small_dataset(store)
    _, plain = train_small(store, dataset, DRAWN)
    other = FileStore(tmp_path / "other")
    small_dataset(other)
    with shifting([]):
        _, drawn = train_small(other, dataset, DRAWN, draw=FixedPairs(other, dataset, DRAWN))
    assert drawn.losses == plain.losses


def test_a_full_store_is_said_and_training_goes_on(store):
    dataset = small_dataset(store)
    lines, put = [], store.put

    def full(key, data, **options):
        if "/pictures/" in key:
            raise DiskFull("the store is full")
        return put(key, data, **options)

    with shifting([]), mock.patch.object(store, "put", full):
        result, _ = train_small(store, dataset, DRAWN, draw=FixedPairs(store, dataset, DRAWN, say=lines.append))
    assert result.ended == "finished"
    assert lines == [f"step {step}: no pictures (DiskFull: the store is full); training goes on" for step in (4, 8)]


def test_what_a_matcher_cannot_do_is_said_and_tried_again(store):
    dataset, lines, made = small_dataset(store), [], []
    with shifting(made):
        working = pictures.matcher_of
        draw = FixedPairs(store, dataset, DRAWN, run_id="run-1", say=lines.append)
        model = Pixels()
        with mock.patch.object(pictures, "matcher_of", side_effect=RuntimeError("out of memory\nlong story")):
            draw(model, model.published(model.state_dict()), 1)
        assert lines == ["step 1: no pictures (RuntimeError: out of memory); training goes on"]
        assert working is pictures.matcher_of
        draw(model, model.published(model.state_dict()), 2)
    assert len(lines) == 1
    assert store.exists(keys.training_picture("run-1", 2, 0))


def test_a_dataset_without_a_pair_is_said_once(store):
    dataset, lines = small_dataset(store, jpeg=b"no jpeg"), []
    with shifting([]):
        draw = FixedPairs(store, dataset, DRAWN, run_id="run-1", say=lines.append)
        for step in (1, 2):
            draw(Pixels(), Pixels().state_dict(), step)
    assert lines == [f"no pictures: dataset {dataset.dataset_id} has no pair that can be drawn"]


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_right_matches_are_green_and_wrong_ones_red(store):
    (sample, *_) = fixed_pairs(store, small_dataset(store), DRAWN, {})
    x0 = np.random.default_rng(0).uniform((30, 20), (60, 40), (30, 2))  # near enough to one of six labels
    right = Seen(np.hstack([x0, x0 + SHIFT]).astype(np.float32), None)
    wrong = Seen(np.hstack([x0, x0 + SHIFT + np.array([0, 9])]).astype(np.float32), None)
    nothing = Seen(np.empty((0, 4), np.float32), None)
    # Of a plane no one geometry is known, so that the nearest labels judge.
    grey = np.full_like(sample.image0, 90)
    labels = np.hstack([x0, x0 + SHIFT])[:6].astype(np.float32)
    sample = replace(sample, image0=grey, image1=grey, truth=Labels(labels))
    good, bad, empty = (draw_pair(sample, nothing, seen, 5) for seen in (right, wrong, nothing))

    def share(picture, colour):
        return (np.abs(picture.astype(int) - colour).max(2) < 40).mean()

    assert share(good, (70, 255, 90)) > 2 * share(bad, (70, 255, 90))
    assert share(bad, (215, 30, 40)) > share(good, (215, 30, 40)) == share(empty, (215, 30, 40))


def test_dense_matchers_show_their_warp_and_its_certainty(store):
    (sample, *_) = fixed_pairs(store, small_dataset(store), DRAWN, {})
    height, width = sample.image0.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    warp = DenseWarp(
        np.dstack([x, y, x + SHIFT[0], y + SHIFT[1]]).astype(np.float32), np.ones((height, width), np.float32)
    )
    points = np.float32([[20, 20, 26, 16]])
    flat, dense = (draw_pair(sample, Seen(points, given), Seen(points, given), 5) for given in (None, warp))
    assert dense.shape[0] > 1.6 * flat.shape[0]
    assert dense.shape[1] == flat.shape[1]


def test_a_warp_matcher_is_asked_for_its_warp(store):
    (sample, *_) = fixed_pairs(store, small_dataset(store), DRAWN, {})
    warp = DenseWarp(np.zeros((2, 2, 4), np.float32), np.zeros((2, 2), np.float32))
    matcher = mock.create_autospec(WarpMatcher, instance=True)
    matcher.match.return_value = Correspondences.none()
    matcher.warps.return_value = [(warp, warp)]
    assert pictures.seen_by(matcher, sample).warp is warp


# --- with a real matcher ----------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_published_weights_become_the_matcher_that_they_are_for(shared_data, tmp_path):
    extractor = shared_data / "weights/permissive/xfeat_folded.pt"
    model = build({"layers": 2, "width": 32, "extractor_weights": str(extractor)})
    weights = WeightsConfig(cache=str(tmp_path), offline=True, licences="permissive")
    published = model.published(model.state_dict())
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    with matcher_of(model, published, ModelResources(InferenceConfig(device="cpu"), weights)) as matcher:
        assert matcher.name == "xfeat_lighterglue"
        found = matcher.match(image, image)
    assert found.points.shape[1] == 4
