from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.reconstruction.cache import ResultCache, cache_key
from gim.reconstruction.cameras import group_cameras
from gim.reconstruction.config import ReconstructionConfig
from gim.reconstruction.database import index_matches
from gim.reconstruction.images import SourceImage

places = st.integers(0, 3)
rows = st.lists(st.tuples(places, places, places, places), max_size=8)


@given(rows, rows)
def test_equal_places_are_one_keypoint_over_all_pairs(first, second):
    points = [np.array(found, np.float32).reshape(-1, 4) for found in (first, second)]
    found = index_matches(3, [(0, 1), (1, 2)], points, 0.0)
    for keypoints in found.keypoints:
        assert len({tuple(place) for place in keypoints}) == len(keypoints)
    for (i, j), matches, wanted in zip([(0, 1), (1, 2)], found.matches, (first, second), strict=True):
        got = [(*found.keypoints[i][a], *found.keypoints[j][b]) for a, b in matches]
        kept = []
        for row in wanted:  # the first of either place
            earlier = wanted[: wanted.index(row)]
            if all(other[:2] != row[:2] and other[2:] != row[2:] for other in earlier) and row not in kept:
                kept.append(row)
        assert got == kept


def image(name, size=(640, 480), focal_px=None):
    return SourceImage(name, Path(name), None, name, size, 1, focal_px)


def groups(images, **settings):
    return [group.members for group in group_cameras(images, ReconstructionConfig(**settings))]


def test_who_shares_a_camera():
    images = [image("x/0"), image("x/1", focal_px=500.0), image("y/2", focal_px=500.0), image("y/3")]
    assert groups(images) == [(0,), (1, 2), (3,)]
    assert groups(images, camera="shared") == [(0, 1, 2, 3)]
    assert groups(images, camera="per-image") == [(0,), (1,), (2,), (3,)]
    assert groups(images, camera="per-folder") == [(0, 1), (2, 3)]
    other_size = [image("0", focal_px=500.0), image("1", (480, 640), 500.0)]
    assert groups(other_size) == [(0,), (1,)]


def test_the_focal_length_is_exifs_or_a_guess():
    known, guessed = group_cameras([image("0", focal_px=500.0), image("1")], ReconstructionConfig())
    assert known.camera.params.tolist() == [500, 320, 240, 0]
    assert known.camera.has_prior_focal_length
    assert guessed.camera.params.tolist() == [768, 320, 240, 0]
    assert not guessed.camera.has_prior_focal_length
    (given_one,) = group_cameras(
        [image("0"), image("1")], ReconstructionConfig(camera="shared", camera_model="PINHOLE,400,410,300,200")
    )
    assert given_one.camera.params.tolist() == [400, 410, 300, 200]
    assert given_one.camera.has_prior_focal_length


def test_cameras_that_cannot_be_are_refused():
    with pytest.raises(InvalidInput, match="--camera shared: 0 has 640x480, 1 has 480x640 pixels"):
        groups([image("0"), image("1", (480, 640))], camera="shared")
    with pytest.raises(InvalidInput, match="camera model 'RADIALISH': there are"):
        groups([image("0")], camera_model="RADIALISH")


def test_the_cache_holds_all_of_a_put_or_nothing(tmp_path):
    path = tmp_path / "cache.db"
    with ResultCache(path) as cache:
        cache.put({"a": b"1", "b": b"2"})
        with pytest.raises(Exception, match="binding"):
            cache.put({"c": b"3", "d": object()})
    with ResultCache(path) as cache:
        assert cache.missing(["a", "c", "b", "d"]) == [1, 3]
        assert cache.get("b") == b"2"
        with pytest.raises(KeyError):
            cache.get("c")


def test_a_cache_that_is_none_is_named(tmp_path):
    path = tmp_path / "cache.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(InvalidInput, match=r"cache\.db: file is not a database; delete it"):
        ResultCache(path)


def test_keys_differ_where_anything_does():
    assert len({cache_key("a", "b"), cache_key("a", "c"), cache_key("b", "b"), cache_key("a", "b", "")}) == 4
    assert cache_key("a", 1) == cache_key("a", "1")
