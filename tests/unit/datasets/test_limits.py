"""Less of a store than it has: results by some matchers only, so many hours of film."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.datasets.build import plan_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.limits import within_hours
from gim.records import FrameManifest, PairsManifest
from tests.finished_pairs import finish, video_id_of

_ALL = DatasetConfig(held_out_share=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def _labelled_by(store: FileStore, number: int, recipe_id: str, *matchers: str) -> str:
    video_id = finish(store, number, recipe_id=recipe_id)
    key = keys.pairs_manifest(video_id, recipe_id)
    result = codecs.from_json(PairsManifest, store.get(key))
    store.put(key, codecs.to_json(replace(result, matcher_ids=[f"{name}-01234567" for name in matchers])))
    return video_id


def _lasts(store: FileStore, video_id: str, sampling_id: str, hours: float) -> None:
    manifest = FrameManifest(video_id, sampling_id, 64, 48, 30.0, 1, hours * 3600, 0.2, [0], [0.0], [], [])
    store.put(keys.frame_manifest(video_id, sampling_id), codecs.to_json(manifest))


def test_of_several_results_that_by_the_matchers_is_taken(store: FileStore) -> None:
    _labelled_by(store, 0, "standard-00000001", "rootsift")
    both = _labelled_by(store, 0, "standard-00000002", "rootsift", "dkm")
    other = _labelled_by(store, 1, "standard-00000002", "rootsift", "dkm")
    manifest = plan_dataset(store, replace(_ALL, matchers=("rootsift",)))
    assert [(video.video_id, video.recipe_id) for video in manifest.videos] == [(both, "standard-00000001")]
    (left_out,) = manifest.excluded
    assert (left_out.video_id, left_out.reason) == (other, "recipe")
    assert left_out.detail == "has no result by rootsift alone"


def test_film_is_taken_up_to_the_hours_asked_for(store: FileStore) -> None:
    ids = [finish(store, number) for number in range(4)]
    sampling_id = codecs.from_json(
        PairsManifest, store.get(keys.pairs_manifest(ids[0], "standard-89abcdef"))
    ).sampling_id
    for video_id in ids:
        _lasts(store, video_id, sampling_id, 1.0)
    manifest = plan_dataset(store, replace(_ALL, max_hours=2.5))
    assert len(manifest.videos) == 2
    assert {video.reason for video in manifest.excluded} == {"hours"}
    assert len(manifest.videos) + len(manifest.excluded) == 4


def test_a_film_whose_frames_are_gone_is_not_counted_on(store: FileStore) -> None:
    video_id = finish(store, 0)
    manifest = plan_dataset(store, replace(_ALL, max_hours=2.5))
    assert [(item.video_id, item.reason) for item in manifest.excluded] == [(video_id, "damaged")]


_HOURS = st.dictionaries(st.integers(0, 30).map(video_id_of), st.floats(0.01, 3.0), min_size=1)


@given(_HOURS, st.floats(0, 20), st.floats(0, 20))
def test_less_film_is_a_part_of_more_and_none_is_longer(hours: dict[str, float], one: float, other: float) -> None:
    less, more = (within_hours(hours, most, 0) for most in sorted((one, other)))
    assert less <= more
    assert sum(hours[video_id] for video_id in more) <= max(one, other) + 1e-9
