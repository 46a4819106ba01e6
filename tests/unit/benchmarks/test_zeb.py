"""ZEB's folders: the names of all twelve datasets, what is read of a pair, and what is refused by file and line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.zeb import DATASETS, dataset_named, find_datasets, in_order, read_dataset
from gim.errors import InvalidInput
from gim.evaluation.results_file import parts_of_name, read_identifiers, results_files_of
from tests.zeb_files import K0, K1, T_0TO1, pair_text, unpack_published

# Folder: the text of a pair, its two words, the file of its first image, and what the published results call the pair.
PUBLISHED = {
    "gl3d": (
        "000000000000000000000000_00000006_00000008.txt",
        ("00000006.png", "00000008.png"),
        "000000000000000000000000_00000006.png",
        "000000000000000000000000#00000006#00000008",
    ),
    "blendedmvs": (
        "57f8d9bbe73f6760f10e916a_00000008_00000125.txt",
        ("00000008.jpg", "00000125.jpg"),
        "57f8d9bbe73f6760f10e916a_00000008.png",
        "57f8d9bbe73f6760f10e916a#00000008#00000125",
    ),
    "eth3di": (
        "delivery_area-DSC_0675-DSC_0676.txt",
        ("DSC_0675.JPG", "DSC_0676.JPG"),
        "delivery_area-DSC_0675.png",
        "delivery_area#DSC_0675.JPG#DSC_0676.JPG",
    ),
    "eth3do": (
        "courtyard-DSC_0286-DSC_0287.txt",
        ("DSC_0286.JPG", "DSC_0287.JPG"),
        "courtyard-DSC_0286.png",
        "courtyard#DSC_0286.JPG#DSC_0287.JPG",
    ),
    "kitti": (
        "2011_09_30_drive_0018_sync-000005-000006.txt",
        ("000005.png", "000006.png"),
        "2011_09_30_drive_0018_sync-000005.png",
        "2011_09_30_drive_0018_sync#000005.png#000006.png",
    ),
    "robotcarweather": (
        "2014-06-26-09-31-18_1403775196419494_1403775197731813.txt",
        ("1403775196419494", "1403775197731813"),
        "2014-06-26-09-31-18_1403775196419494.png",
        "2014-06-26-09-31-18#1403775196419494#1403775197731813",
    ),
    "robotcarseason": (
        "2015-02-03-08-45-10_1422953130110959_1422953130798369.txt",
        ("1422953130110959", "1422953130798369"),
        "2015-02-03-08-45-10_1422953130110959.png",
        "2015-02-03-08-45-10#1422953130110959#1422953130798369",
    ),
    "robotcarnight": (
        "2014-11-14-16-34-33_1415984956291375_1415984959478441.txt",
        ("1415984956291375", "1415984959478441"),
        "2014-11-14-16-34-33_1415984956291375.png",
        "2014-11-14-16-34-33#1415984956291375#1415984959478441",
    ),
    "multifov": (
        "urban-img0001_0-img0022_0.txt",
        ("img0001_0", "img0022_0"),
        "urban-img0001_0.png",
        "urban#img/img0001_0.png#img/img0022_0.png",
    ),
    "scenenet": ("10-1025-7125.txt", ("1025", "7125"), "10-1025.png", "10#1025.jpg#7125.jpg"),
    "iclnuim": (
        "livingroom1-00000-00033.txt",
        ("00000", "00033"),
        "livingroom1-00000.png",
        "livingroom1#00000.jpg#00033.jpg",
    ),
    "gtasfm": (
        "20190127_154841-image_0-image_39.txt",
        ("image_0", "image_39"),
        "20190127_154841-image_0.png",
        "20190127_154841#image_0#image_39",
    ),
}
GOOD = pair_text("a.png", "b.png")


def write_pair(root: Path, folder: str, text_name: str, line: str, images: Sequence[str]) -> Path:
    """A pair's text and empty images: what is in them is nobody's business here."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for image in images:
        (place / image).touch()
    (place / text_name).write_text(line, encoding="utf-8")
    return place / text_name


def gl3d(root: Path, line: str = GOOD, name: str = "s_a_b.txt") -> Path:
    return write_pair(root, "gl3d", name, line, ["s_a.png", "s_b.png"])


@pytest.mark.parametrize("folder", PUBLISHED)
def test_a_pair_of_every_dataset_is_named_as_published(tmp_path: Path, folder: str) -> None:
    text_name, words, image0, identifier = PUBLISHED[folder]
    dataset = dataset_named(folder)
    image1 = image0.replace(words[0].partition(".")[0], words[1].partition(".")[0])
    write_pair(tmp_path, folder, text_name, pair_text(*words) + "\nmore that is not read\n", [image0, image1])
    (pair,) = read_dataset(tmp_path, dataset)
    assert (pair.identifier, pair.image0, pair.image1) == (identifier, image0, image1)
    assert pair.scene == identifier.partition("#")[0]
    assert (pair.overlap0, pair.overlap1) == (0.25, 0.5)
    for found, truth in ((pair.K0, K0), (pair.K1, K1), (pair.T_0to1, T_0TO1)):
        assert np.array_equal(found, truth)
    assert dataset.spells(identifier)


@pytest.mark.parametrize("word", ["DSC_1", "DSC_1.JPG", "DSC_1.jpg", "DSC_1.png", "DSC_1.jpeg"])
def test_a_word_names_its_image_with_or_without_a_suffix(word: str) -> None:
    dataset = dataset_named("ETH3DI")
    assert dataset.image_file("kicker", word) == "kicker-DSC_1.png"
    assert dataset.identifier("kicker", word, "b") == "kicker#DSC_1.JPG#b.JPG"


def test_a_dot_that_begins_no_suffix_of_an_image_stays() -> None:
    assert dataset_named("gl3d").image_file("s", "v1.25") == "s_v1.25.png"


def test_pairs_come_in_the_order_of_result_files(tmp_path: Path) -> None:
    for scene in ("a", "a+"):
        write_pair(tmp_path, "kitti", f"{scene}-1-2.txt", pair_text("1", "2"), [f"{scene}-1.png", f"{scene}-2.png"])
    texts = sorted(path.name for path in (tmp_path / "kitti").glob("*.txt"))
    assert texts == ["a+-1-2.txt", "a-1-2.txt"]
    assert [pair.scene for pair in read_dataset(tmp_path, dataset_named("kitti"))] == ["a", "a+"]


def test_there_are_twelve_with_the_published_number_of_pairs() -> None:
    assert {dataset.folder for dataset in DATASETS} == set(PUBLISHED)
    assert sum(dataset.num_pairs for dataset in DATASETS) == 45_916


def test_datasets_that_are_absent_are_named(tmp_path: Path) -> None:
    for folder in ("kitti", "gl3d", "something else"):
        (tmp_path / folder).mkdir()
    (tmp_path / "eth3di").write_text("a file is no dataset")
    found, missing = find_datasets(tmp_path)
    assert [dataset.folder for dataset in found] == ["gl3d", "kitti"]
    assert [dataset.folder for dataset in missing] == [name for name in PUBLISHED if name not in ("gl3d", "kitti")]
    found, missing = find_datasets(tmp_path, ["ICL-NUIM", "KITTI", "kitti"])
    assert ([dataset.name for dataset in found], [dataset.name for dataset in missing]) == (["KITTI"], ["ICL-NUIM"])


@pytest.mark.parametrize(
    ("folder", "names", "said"),
    [
        ("nowhere", [], "nowhere: cannot be read"),
        (".", [], "holds no dataset of ZEB; expected a folder for each of gl3d, blendedmvs, "),
        (".", ["GTA-SfM"], "holds no dataset of ZEB; expected a folder for each of gtasfm$"),
        (".", ["kity"], r"no dataset of ZEB is called 'kity' \(did you mean kitti\?\): gl3d, "),
    ],
)
def test_a_folder_without_a_dataset_is_refused(tmp_path: Path, folder: str, names: list[str], said: str) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InvalidInput, match=said):
        find_datasets(tmp_path / folder, names)


def _changed(place: int, word: str) -> str:
    words = GOOD.split()
    words[place] = word
    return " ".join(words)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "expected 38 words, got 0"),
        (GOOD.rpartition(" ")[0], "expected 38 words, got 37"),
        (GOOD + " 1.0", "expected 38 words, got 39"),
        ("\n" + GOOD, "expected 38 words, got 0"),
        (_changed(3, "half"), "could not convert"),
        (_changed(2, "nan"), "an overlap that is not finite"),
        (_changed(5, "inf"), "a number that is not finite"),
        (_changed(4, "0.0"), "intrinsics that no pinhole camera has"),
        (_changed(17, "-505.0"), "intrinsics that no pinhole camera has"),
        (_changed(21, "0.0"), "intrinsics that no pinhole camera has"),
        (_changed(22, "1.0"), "T_0to1 is no rotation and translation"),
        (_changed(32, "-1.0"), "T_0to1 is no rotation and translation"),
        (_changed(37, "2.0"), "T_0to1 is no rotation and translation"),
        (pair_text("a.png", "a.jpg"), r"a pair of the image s_a\.png with itself"),
    ],
)
def test_a_malformed_text_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = gl3d(tmp_path, line)
    with pytest.raises(InvalidInput) as refused:
        read_dataset(tmp_path, dataset_named("gl3d"))
    assert str(refused.value).startswith(f"{path}, line 1: ")
    assert "\n" not in str(refused.value)
    refused.match(said)


def test_a_text_that_breaks_off_is_never_read_as_something_else(tmp_path: Path) -> None:
    dataset = dataset_named("gl3d")
    path = gl3d(tmp_path)
    (whole,) = read_dataset(tmp_path, dataset)
    num_refused = 0
    for length in range(len(GOOD)):
        path.write_text(GOOD[:length])
        try:
            (pair,) = read_dataset(tmp_path, dataset)
        except InvalidInput:
            num_refused += 1
        else:
            assert np.array_equal(pair.T_0to1, whole.T_0to1)
            assert pair.identifier == whole.identifier
    assert num_refused >= len(GOOD) - len("1.0")


def test_an_image_that_is_absent_is_named(tmp_path: Path) -> None:
    path = gl3d(tmp_path)
    (tmp_path / "gl3d/s_b.png").unlink()
    with pytest.raises(InvalidInput) as refused:
        read_dataset(tmp_path, dataset_named("gl3d"))
    assert str(refused.value) == f"{path}: names the image s_b.png, which is not in its folder"


def test_a_draw_is_glue_factorys(tmp_path: Path) -> None:
    names = [f"s_{first}_{second}" for first in "abcd" for second in "abcd" if first != second]
    for name in names:
        _, first, second = name.split("_")
        images = [f"s_{word}.png" for word in "abcd"]
        write_pair(tmp_path, "gl3d", f"{name}.txt", pair_text(first, second), images)
    for other in ("blendedmvs", "eth3di", "kitti"):
        (tmp_path / other).mkdir()
    # Its seed is the place of the folder among all, by name: gl3d is the third.
    drawn = np.random.RandomState(2).choice(sorted(names), 5, replace=False)
    found = read_dataset(tmp_path, dataset_named("gl3d"), max_pairs=5)
    assert [pair.identifier for pair in found] == sorted(name.replace("_", "#") for name in drawn)
    assert len(read_dataset(tmp_path, dataset_named("gl3d"), max_pairs=12)) == 12


def test_two_texts_of_one_pair_are_refused(tmp_path: Path) -> None:
    gl3d(tmp_path)
    path = gl3d(tmp_path, pair_text("a.jpg", "b"), "s_again.txt")
    with pytest.raises(InvalidInput) as refused:
        read_dataset(tmp_path, dataset_named("gl3d"))
    assert str(refused.value) == f"{path}: the pair of s_a_b.txt again, s#a#b"


def test_a_pair_the_other_way_round_is_another(tmp_path: Path) -> None:
    gl3d(tmp_path)
    gl3d(tmp_path, pair_text("b.png", "a.png"), "s_b_a.txt")
    assert [pair.identifier for pair in read_dataset(tmp_path, dataset_named("gl3d"))] == ["s#a#b", "s#b#a"]


def test_what_is_no_text_and_a_folder_without_pairs_are_refused(tmp_path: Path) -> None:
    dataset = dataset_named("gl3d")
    path = gl3d(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"s_a_b\.txt: not a text of a pair"):
        read_dataset(tmp_path, dataset)
    path.unlink()
    with pytest.raises(InvalidInput, match="gl3d: holds no pairs"):
        read_dataset(tmp_path, dataset)
    path.mkdir()
    with pytest.raises(InvalidInput, match=r"s_a_b\.txt: cannot be read"):
        read_dataset(tmp_path, dataset)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("ETH3DI", "kicker#DSC_1#DSC_2"),
        ("ETH3DI", "kicker#DSC_1.JPG#DSC_2.png"),
        ("KITTI", "drive#000001.jpg#000002.jpg"),
        ("GL3D", "s#a.png#b.png"),
        ("Multi-FoV", "urban#img0001_0.png#img0002_0.png"),
        ("GTA-SfM", "s#a"),
        ("GTA-SfM", "s#a#b#c"),
        ("GTA-SfM", "#a#b"),
    ],
)
def test_an_identifier_of_another_dataset_is_told_by_its_spelling(name: str, identifier: str) -> None:
    assert not dataset_named(name).spells(identifier)


def test_names_are_ordered_as_in_the_table() -> None:
    names = [dataset.name for dataset in DATASETS]
    assert in_order([*reversed(names), "zoo", "attic"]) == [*names, "attic", "zoo"]


@pytest.mark.shared
def test_all_published_pairs_are_named_by_the_rules(shared_data: Path, tmp_path: Path) -> None:
    published = {
        parts_of_name(path)[1]: read_identifiers(path)
        for path in results_files_of(unpack_published(shared_data, tmp_path))
        if "gim_dkm" in path.name
    }
    assert set(published) == {dataset.name for dataset in DATASETS}
    for dataset in DATASETS:
        identifiers = published[dataset.name]
        scenes = {identifier.partition("#")[0] for identifier in identifiers}
        assert (len(identifiers), len(scenes)) == (dataset.num_pairs, dataset.num_scenes)
        assert all(dataset.spells(identifier) for identifier in identifiers)
        assert not any(dataset.separator in scene for scene in scenes)  # or the scene of a text would be cut short
        chosen = identifiers[:: len(identifiers) // 5]
        for number, identifier in enumerate(chosen):
            scene, *names = identifier.split("#")
            words = [name.removeprefix(dataset.prefix).removesuffix(dataset.suffix) for name in names]
            images = [f"{scene}{dataset.separator}{word}.png" for word in words]
            text_name = f"{scene}{dataset.separator}{number}.txt"
            write_pair(tmp_path, dataset.folder, text_name, pair_text(*words), images)
        assert [pair.identifier for pair in read_dataset(tmp_path, dataset)] == chosen
