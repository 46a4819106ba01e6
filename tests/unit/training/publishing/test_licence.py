"""The licence of trained weights: never less strict than anything that they are made of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.datasets.manifest import DatasetManifest, DatasetVideo, PosedSet
from gim.records import Teacher, TeacherWeights, UsedWeights
from gim.training.config import MixConfig
from gim.training.publishing import licence as module
from gim.training.publishing.licence import licence_of, normalised
from gim.weights import files
from gim.weights.files import MAX_LICENCE_CHARACTERS, is_permissive_licence
from tests.finished_pairs import ROOTSIFT

VIDEOS = MixConfig(video=1.0)
YOUTUBES = "Creative Commons Attribution license (reuse allowed)"
RESEARCH = "MIT, research only by its authors' remark"
GIM = Teacher("dkm", "Apache-2.0", (TeacherWeights("gim_dkm_100h", "0" * 64, RESEARCH),))


def dataset(*licences, teachers=(ROOTSIFT,), held_out=(), posed=()):
    videos = [
        DatasetVideo(f"yt-{number:011d}", "standard-0", split, "", text, "site", "", "", 1, [])
        for number, (text, split) in enumerate(
            [*((t, "train") for t in licences), *((t, "held_out") for t in held_out)]
        )
    ]
    sets = [PosedSet(name, "colmap", {}, []) for name in posed]
    return DatasetManifest("d", "d", (), False, 0.1, 0, 1, 0, [], tuple(teachers), videos, [], sets)


def used(licence, name="start.ckpt"):
    return UsedWeights("start", name, "0" * 64, licence)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (YOUTUBES, "CC-BY-3.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC0", "CC0-1.0"),
        ("CC BY-NC 4.0", "CC BY-NC 4.0"),
        ("CC BY-SA 4.0", "CC BY-SA 4.0"),
        ("  ", "unknown"),
        ("Creative\n Commons Attribution licence (reuse allowed)", "CC-BY-3.0"),
    ],
)
def test_licences_are_known_by_the_ways_in_which_people_write_them(text, expected):
    assert normalised(text) == expected


def test_of_permissive_parts_the_most_demanding_licence_counts():
    assert licence_of(dataset("CC0"), [], VIDEOS) == "Apache-2.0"  # the teacher's
    assert licence_of(dataset("CC0", YOUTUBES), [used("MIT")], VIDEOS) == "CC-BY-3.0"
    assert licence_of(dataset(YOUTUBES, "CC BY 4.0"), [], VIDEOS) == "CC-BY-4.0"


def test_everything_that_is_not_permissive_is_said_with_whose_it_is():
    found = licence_of(dataset("local", "unknown", "CC BY 4.0", teachers=[GIM]), [used("unknown")], VIDEOS)
    assert found == f"{RESEARCH} (weights gim_dkm_100h); unknown (weights start.ckpt, 2 videos)"
    assert not is_permissive_licence(found)
    assert licence_of(dataset("CC BY-NC 4.0"), [], VIDEOS) == "CC BY-NC 4.0 (video yt-00000000000)"


def test_weights_that_the_labels_hid_movement_with_count_too():
    segmenter = Teacher(
        "rootsift", "Apache-2.0", (), "ade20k", (TeacherWeights("ade20k_encoder", "", "research only"),)
    )
    assert licence_of(dataset("CC0", teachers=[segmenter]), [], VIDEOS) == "research only (weights ade20k_encoder)"


def test_what_the_mixture_does_not_draw_from_does_not_count():
    mixed = dataset("local", teachers=[GIM], posed=["scannet"])
    assert licence_of(mixed, [used("MIT")], MixConfig(video=0.0, posed=1.0)) == "unknown (posed set scannet)"
    homographies = MixConfig(video=0.0, homography=1.0)
    assert licence_of(mixed, [used("MIT")], homographies) == "unknown (video yt-00000000000)"
    assert licence_of(dataset("CC0", held_out=["local"]), [], VIDEOS) == "Apache-2.0"


def test_labels_of_nobody_are_unknown():
    assert licence_of(dataset("CC0", teachers=[]), [], VIDEOS) == "unknown (matchers that nobody recorded)"


def test_a_line_is_as_short_as_the_file_beside_weights_allows():
    many = [used(f"terms number {number}", f"weights-{number}.ckpt") for number in range(30)]
    found = licence_of(dataset("CC0"), many, VIDEOS)
    assert len(found) <= MAX_LICENCE_CHARACTERS
    assert re.search(r"; and \d+ more$", found)
    assert len(licence_of(dataset("CC0"), [used("x" * 500)], VIDEOS)) <= MAX_LICENCE_CHARACTERS


def test_every_permissive_licence_has_its_place_among_the_others():
    assert set(module._BY_DEMANDS) == files._PERMISSIVE
    assert set(module._SPELLINGS.values()) <= files._PERMISSIVE


TERMS = st.sampled_from(["MIT", "CC BY 4.0", "CC0", "local", "unknown", RESEARCH, "CC BY-SA 4.0", "", "Apache-2.0"])


@given(st.lists(TERMS, min_size=1, max_size=6), st.lists(TERMS, max_size=3))
def test_weights_are_permissive_only_where_all_parts_are(videos, weights):
    found = licence_of(dataset(*videos), [used(text) for text in weights], VIDEOS)
    assert is_permissive_licence(found) == all(is_permissive_licence(normalised(text)) for text in [*videos, *weights])
    assert "\n" not in found
    assert 0 < len(found) <= MAX_LICENCE_CHARACTERS
