from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim import keys
from gim.errors import InvalidInput

VIDEO = "file-0123456789abcdef"
NAMES = st.text("abcXYZ019._=-", min_size=1, max_size=12).filter(lambda name: not name.startswith("."))


@dataclass(frozen=True)
class _Config:
    threshold_px: float = 1.0
    intervals: tuple[int, ...] = (1, 2)


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_a_key_of_safe_segments_is_returned_unchanged(parts):
    assert keys.validate_key("/".join(parts)) == "/".join(parts)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/.b",
        ".",
        "a b",
        "a\\b",
        "a\nb",
        "a\0b",
        "ä",
        "a;b",
        "$(a)",
        "a" * 513,
    ],
)
def test_a_key_that_could_leave_its_place_is_refused(key):
    with pytest.raises(InvalidInput):
        keys.validate_key(key)


@given(st.text(max_size=30))
def test_a_key_that_is_accepted_stays_below_the_root(text):
    try:
        key = keys.validate_key(text)
    except InvalidInput:
        return
    assert all(part not in ("", ".", "..") and "\0" not in part for part in key.split("/"))


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b/"])
def test_a_prefix_may_be_empty_or_end_in_one_slash(prefix):
    assert keys.validate_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "a//", "../"])
def test_a_prefix_that_could_leave_its_place_is_refused(prefix):
    with pytest.raises(InvalidInput):
        keys.validate_prefix(prefix)


@pytest.mark.parametrize(
    "video_id", ["", "yt-short", "file-XYZ", "yt-../../etc/x", "dQw4w9WgXcQ", VIDEO + "0", VIDEO + "\n"]
)
def test_a_video_id_of_another_form_is_refused(video_id):
    with pytest.raises(InvalidInput, match="invalid video id"):
        keys.video_prefix(video_id)


def test_youtube_ids_become_video_ids_only_when_whole():
    assert keys.youtube_video_id("dQw4w9WgXcQ") == "yt-dQw4w9WgXcQ"
    for text in ("dQw4w9WgXc", "dQw4w9WgXcQ\n", "dQw4w9Wg/cQ", "$(reboot)xx"):
        with pytest.raises(InvalidInput, match="invalid YouTube id"):
            keys.youtube_video_id(text)


def test_the_data_path_is_the_one_that_is_documented():
    sampling, matcher, recipe = "seconds-00000000", "rootsift-11111111", "standard-22222222"
    assert keys.file_video_id("0123456789abcdef" * 4) == VIDEO
    assert keys.video_source(VIDEO, "mp4") == f"videos/{VIDEO}/source.mp4"
    assert keys.video_meta(VIDEO) == f"videos/{VIDEO}/meta.json"
    assert keys.frame_image(VIDEO, sampling, 7) == f"frames/{VIDEO}/{sampling}/00000007.jpg"
    assert keys.frame_manifest(VIDEO, sampling) == f"frames/{VIDEO}/{sampling}/manifest.json"
    assert keys.frame_mask(VIDEO, sampling, "selfie-1", 7) == f"masks/{VIDEO}/{sampling}/selfie-1/00000007.png"
    assert keys.segment_features(VIDEO, sampling, "sift-1", 3) == f"features/{VIDEO}/{sampling}/sift-1/00003.npz"
    assert keys.segment_labels(VIDEO, sampling, matcher, 3) == f"labels/{VIDEO}/{sampling}/{matcher}/00003.npz"
    assert keys.pairs_shard(VIDEO, recipe, 1) == f"pairs/{VIDEO}/{recipe}/00001.tar"
    assert keys.pairs_manifest(VIDEO, recipe) == f"pairs/{VIDEO}/{recipe}/manifest.json"
    assert keys.segment_id(VIDEO, sampling, 12) == f"{VIDEO}/{sampling}/00012"


def test_purging_covers_every_key_of_a_video():
    made = [
        keys.video_source(VIDEO, "mp4"),
        keys.video_meta(VIDEO),
        keys.frame_image(VIDEO, "s", 0),
        keys.overlay_mask(VIDEO, "s", 0),
        keys.frame_manifest(VIDEO, "s"),
        keys.frame_mask(VIDEO, "s", "m", 0),
        keys.segment_features(VIDEO, "s", "e", 0),
        keys.segment_labels(VIDEO, "s", "m", 0),
        keys.pairs_shard(VIDEO, "r", 0),
        keys.pairs_index(VIDEO, "r"),
        keys.pairs_manifest(VIDEO, "r"),
    ]
    assert all(key.startswith(keys.everything_of(VIDEO)) for key in made)


def test_an_id_changes_with_everything_that_changes_the_bytes():
    same = keys.config_id("name", _Config(), {"b": 1, "a": [2]})
    assert same == keys.config_id("name", _Config(1.0, (1, 2)), {"a": (2,), "b": 1})
    others = [
        keys.config_id("name", _Config(threshold_px=1.5), {"b": 1, "a": [2]}),
        keys.config_id("name", _Config(intervals=(1, 2, 4)), {"b": 1, "a": [2]}),
        keys.config_id("name", _Config(), {"b": 2, "a": [2]}),
        keys.config_id("name", _Config()),
        keys.config_id("other", _Config(), {"b": 1, "a": [2]}),
    ]
    assert len({same, *others}) == 6


def test_an_id_is_the_same_in_every_version_of_the_project():
    assert keys.config_hash(_Config()) == keys.config_hash({"intervals": [1, 2], "threshold_px": 1.0}) == "dbbbc9cc"
