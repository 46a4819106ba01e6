"""Pairs matched some at a time: as one by one, each image looked at once, in pixels of the images as given."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gim.benchmarks.zeb import dataset_named
from gim.errors import InvalidInput
from gim.evaluation import matching
from gim.evaluation.image_size import ResizedImage, SizeRule, resized
from gim.evaluation.matching import ViewMatching
from gim.evaluation.protocols import protocol_named
from gim.evaluation.zeb import size_rule
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, matcher_status
from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.records import Correspondences, Features, Uint8Array
from gim.weights.config import WeightsConfig
from tests.matcher_files import files_of
from tests.planted_matches import BatchedPlantedMatcher, PlantedMatcher, PlantedViews
from tests.synthetic import PosedPair, posed_pair
from tests.unit.evaluation.test_passes import PAIRS, table
from tests.zeb_folder import rendered_views

AS_THEY_ARE = SizeRule()
CHAIN = [("0", "1"), ("0", "2"), ("1", "2"), ("3", "2"), ("3", "0"), ("0", "1")]


@dataclass(frozen=True)
class RoomViews:
    """Rendered views, or any other images, by a rule."""

    images: Sequence[Uint8Array]
    pairs: Sequence[tuple[str, str]] = tuple(CHAIN)
    rule: SizeRule = AS_THEY_ARE
    id: str = "room-00000000"
    read: Counter[str] = field(default_factory=Counter)

    def image(self, name: str) -> ResizedImage:
        self.read[name] += 1
        return resized(self.images[int(name)], self.rule)


@pytest.fixture(scope="module")
def images() -> list[Uint8Array]:
    from gim import codecs

    return [codecs.decode_image(view.png) for view in rendered_views()]


@pytest.fixture(params=[1, 3])
def executor(request: pytest.FixtureRequest) -> Any:
    with ThreadPoolExecutor(request.param) as opened:
        yield opened


def in_parts(views: Any, matcher: Matcher, executor: Executor, size: int = 2) -> list[Correspondences]:
    """As the runner asks for them."""
    asked = ViewMatching(matcher, views, executor)
    pairs = list(views.pairs)
    return [found for start in range(0, len(pairs), size) for found in asked.match(pairs[start : start + size])]


def same(found: Correspondences, expected: Correspondences) -> bool:
    return np.array_equal(found.points, expected.points) and np.array_equal(found.confidence, expected.confidence)


# --- sparse matchers --------------------------------------------------------------------------------------------------


def test_held_features_give_what_pairs_one_by_one_give(images: list[Uint8Array], executor: Executor) -> None:
    matcher, views = RootSift(RootSiftConfig(max_keypoints=800)), RoomViews(images)
    found = in_parts(views, matcher, executor)
    expected = [matcher.match(images[int(name0)], images[int(name1)]) for name0, name1 in CHAIN]
    assert [same(*both) for both in zip(found, expected, strict=True)] == [True] * len(CHAIN)
    assert min(len(item.points) for item in found) > 20
    assert all(item.matches is None for item in found)
    assert views.read == Counter("0123")  # each once: features of earlier pairs are still held


@pytest.mark.parametrize("num_held", [0, 1, 2])
def test_with_little_room_features_of_the_last_images_are_held(
    images: list[Uint8Array], monkeypatch: pytest.MonkeyPatch, num_held: int
) -> None:
    views, matcher = RoomViews(images), CountingSift()
    monkeypatch.setattr(matching, "_HELD_BYTES", num_held * CountingSift.num_bytes)
    with ThreadPoolExecutor(1) as executor:
        asked = ViewMatching(matcher, views, executor)
        for pair in CHAIN:
            asked.match([pair])
            assert len(asked._held) == num_held
    assert len(matcher.extracted) == _num_extracted(num_held)


def _num_extracted(num_held: int) -> int:
    """Of a plain list of the images used last."""
    last: list[str] = []
    number = 0
    for pair in CHAIN:
        number += sum(name not in last for name in pair)
        last = [*(name for name in last if name not in pair), *pair][-num_held or 9 :]
    return number


class CountingSift(RootSift):
    """Finds the same number of features in every image."""

    num_bytes = 10 * (8 + 128)

    def __init__(self) -> None:
        super().__init__(RootSiftConfig())
        self.extracted: list[int] = []

    def extract(self, image: Uint8Array, mask: Uint8Array | None = None) -> Features:
        self.extracted.append(1)
        return Features(np.zeros((10, 2), np.float32), np.zeros((10, 128), np.uint8))


@pytest.fixture(scope="module")
def xfeat(
    tmp_path_factory: pytest.TempPathFactory, shared_if_there: Path | None, lacks_models: Callable[[str], None]
) -> Callable[[int], Matcher]:
    """A small network, with batches of so many."""
    if reason := matcher_status("xfeat"):
        lacks_models(reason)
    settings = files_of("xfeat", tmp_path_factory.mktemp("weights"), shared_if_there).settings
    config = {**settings, "max_keypoints": 300, "detection_threshold": 0.0, "min_similarity": -1.0}
    weights = WeightsConfig(offline=True)
    return lambda size: load_matcher(
        "xfeat", config, ModelResources(InferenceConfig(device="cpu", batch_size=size), weights)
    )


@pytest.mark.parametrize("size", [1, 3])
def test_a_network_in_batches_gives_what_pairs_one_by_one_give(
    images: list[Uint8Array], xfeat: Callable[[int], Matcher], executor: Executor, size: int
) -> None:
    views = RoomViews(images)
    found = in_parts(views, xfeat(size), executor, 3)
    one_by_one = xfeat(1)
    for item, (name0, name1) in zip(found, CHAIN, strict=True):
        expected = one_by_one.match(images[int(name0)], images[int(name1)])
        assert len(item.points) > 20
        if size == 1:
            assert same(item, expected)
        else:  # a batch rounds otherwise: here and there another keypoint
            rows = {tuple(row) for row in np.round(expected.points)}
            assert np.mean([tuple(row) in rows for row in np.round(item.points)]) > 0.95
    assert views.read == Counter("0123")


# --- matchers that want both images -----------------------------------------------------------------------------------


def planted_views() -> PlantedViews:
    return PlantedViews([(str(first), str(second)) for first, second in PAIRS])


def test_a_matcher_of_whole_images_is_given_each_pair_once(executor: Executor) -> None:
    matcher = PlantedMatcher(table())
    found = in_parts(planted_views(), matcher, executor, 4)
    assert sorted(matcher.asked) == PAIRS
    known = table()
    assert all(np.array_equal(item.points, known[pair]) for item, pair in zip(found, PAIRS, strict=True))


def test_a_batched_matcher_of_whole_images_is_given_full_batches_and_images_are_read_once(executor: Executor) -> None:
    matcher, views = BatchedPlantedMatcher(table()), planted_views()
    found = in_parts(views, matcher, executor, 7)
    assert matcher.asked == PAIRS
    assert matcher.batches == [3, 3, 1, 3, 1]
    assert Counter(views.read) == Counter([*map(str, range(12)), "7"])  # 7 is of pairs of both parts
    known = table()
    assert all(np.array_equal(item.points, known[pair]) for item, pair in zip(found, PAIRS, strict=True))


@pytest.mark.parametrize("kind", [PlantedMatcher, BatchedPlantedMatcher])
def test_an_image_that_cannot_be_read_ends_it_with_its_name(kind: type[PlantedMatcher], executor: Executor) -> None:
    class Missing(PlantedViews):
        def image(self, name: str) -> ResizedImage:
            if name == "5":
                raise InvalidInput("5.png: cannot be read")
            return super().image(name)

    with pytest.raises(InvalidInput, match=r"5\.png"):
        in_parts(Missing(planted_views().pairs), kind(table()), executor, 4)


# --- positions --------------------------------------------------------------------------------------------------------

# Sizes that the datasets' own rules shrink, unlike on both sides, cut to multiples and pad.
SIZES = {"kitti": (1242, 375), "eth3do": (1700, 200)}


@pytest.mark.parametrize("folder", SIZES)
def test_positions_are_those_of_the_images_as_given(folder: str) -> None:
    rule = size_rule(dataset_named(folder), protocol_named("gim"))
    scene = posed_pair(size=SIZES[folder], gap_seconds=0.3)
    view = resized(scene.image0, rule)
    assert view.mask is not None
    scale = [small / own for small, own in zip(view.size, view.original, strict=True)]
    assert max(scale) < 1
    assert scale[0] != scale[1]
    found = _found_under(rule, scene)
    assert len(found.points) > 100
    assert (found.points > -0.5).all()
    assert (found.points < np.tile(np.array(SIZES[folder]) - 0.5, 2)).all()
    assert _error_px(scene, found) < 0.5
    assert np.abs(_bias_px(scene, found)).max() < 0.1


def test_images_of_unlike_sizes_are_matched_to_half_a_pixel() -> None:
    large, small = posed_pair(size=(640, 480), gap_seconds=0.3), posed_pair(size=(160, 120), gap_seconds=0.3)
    scene = replace(large, image1=small.image1, camera1=small.camera1)
    found = _found_under(SizeRule(longest_side=160), scene)
    assert len(found.points) > 20
    assert np.ptp(found.points[:, :2], axis=0).min() > 240
    assert np.ptp(found.points[:, 2:], axis=0).max() < 160
    # Where pixels have their origin matters here: 1.5 px of image 0, a quarter of that in image 1.
    assert np.abs(_bias_px(scene, found)).max() < 0.12


def _found_under(rule: SizeRule, scene: PosedPair) -> Correspondences:
    views = RoomViews([scene.image0, scene.image1], (("0", "1"),), rule)
    with ThreadPoolExecutor(2) as executor:
        return in_parts(views, RootSift(RootSiftConfig(max_keypoints=2000)), executor)[0]


def _error_px(scene: PosedPair, found: Correspondences) -> float:
    return float(np.median(np.linalg.norm(_offsets(scene, found), axis=1)))


def _bias_px(scene: PosedPair, found: Correspondences) -> np.ndarray:
    return np.asarray(np.median(_offsets(scene, found), axis=0))


def _offsets(scene: PosedPair, found: Correspondences) -> np.ndarray:
    exact, is_seen = scene.transfer(found.points[:, :2].astype(np.float64))
    return np.asarray((found.points[:, 2:] - exact)[is_seen])
