"""ZEB, the zero-shot evaluation benchmark of GIM (arXiv 2402.11095, Sec. 4.1): its twelve datasets as published.

A dataset is one flat folder: images `<scene><separator><name>.png`, and for every pair a text that begins with its
scene and the separator, and whose first line has 38 words: both names, both overlaps, K0 (9), K1 (9) and T_0to1 (16),
matrices row by row. Names in the texts and in result files differ from dataset to dataset: `DATASETS` has the rules.
Matches and scores nothing.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim.benchmarks.posed import checked_cameras
from gim.errors import InvalidInput
from gim.records import Float64Array
from gim.spelling import did_you_mean

NUM_WORDS = 38
_IMAGE_SUFFIXES = ("png", "jpg", "jpeg")
_NO_LIMIT = 9999  # the original's word for "as large as it is"


@dataclass(frozen=True, slots=True)
class ZebDataset:
    """One of the twelve: how its files are named, how large its images are matched, and how many pairs it has."""

    folder: str
    name: str  # in result files, and in tables
    separator: str  # between a scene and what follows, in file names
    num_pairs: int
    num_scenes: int
    prefix: str = ""  # of a name in result files
    suffix: str = ""
    longest_side: int = _NO_LIMIT  # images are shrunk to it, pixels
    multiple_of: int = 8  # sides are cut to multiples of it
    padded_to: tuple[int, int] | None = None  # width and height, filled up at the right and below

    def image_file(self, scene: str, word: str) -> str:
        """The file of an image that a pair's text names by `word`."""
        return f"{scene}{self.separator}{_without_suffix(word)}.png"

    def identifier(self, scene: str, word0: str, word1: str) -> str:
        """What result files call a pair."""
        names = (f"{self.prefix}{_without_suffix(word)}{self.suffix}" for word in (word0, word1))
        return "#".join([scene, *names])

    def spells(self, identifier: str) -> bool:
        """Whether result files could call a pair of this dataset so, as far as the spelling says."""
        scene, *names = identifier.split("#")
        words = [name.removeprefix(self.prefix) for name in names]
        return len(words) == 2 and bool(scene) and self.identifier(scene, *words) == identifier


# Separators, suffixes and sizes: the original's loaders and test scripts; counts: its published results.
DATASETS = (
    ZebDataset("gl3d", "GL3D", "_", 5165, 430),
    ZebDataset("blendedmvs", "BlendedMVS", "_", 5049, 113),
    ZebDataset("eth3di", "ETH3DI", "-", 2131, 7, suffix=".JPG", longest_side=1600, padded_to=(1600, 1072)),
    ZebDataset("eth3do", "ETH3DO", "-", 3438, 6, suffix=".JPG", longest_side=1600, padded_to=(1600, 1072)),
    ZebDataset("kitti", "KITTI", "-", 5013, 9, suffix=".png", longest_side=1240, multiple_of=1, padded_to=(1240, 384)),
    ZebDataset("robotcarweather", "RobotcarWeather", "_", 1834, 5),
    ZebDataset("robotcarseason", "RobotcarSeason", "_", 1077, 1),
    ZebDataset("robotcarnight", "RobotcarNight", "_", 2080, 5),
    ZebDataset("multifov", "Multi-FoV", "-", 5000, 1, prefix="img/", suffix=".png"),
    ZebDataset("scenenet", "SceneNetRGBD", "-", 5100, 170, suffix=".jpg"),
    ZebDataset("iclnuim", "ICL-NUIM", "-", 5000, 4, suffix=".jpg"),
    ZebDataset("gtasfm", "GTA-SfM", "-", 5029, 19),
)


@dataclass(frozen=True, slots=True, eq=False)
class ZebPair:
    """A pair of a dataset, with what is true of its cameras."""

    identifier: str  # in result files
    scene: str
    image0: str  # file in the dataset's folder
    image1: str
    overlap0: float  # covisible share of image 0, 0 to 1
    overlap1: float
    K0: Float64Array  # [3, 3] pixels of the image as published
    K1: Float64Array
    T_0to1: Float64Array  # [4, 4] maps points of camera 0 into camera 1


def dataset_named(name: str) -> ZebDataset:
    """The dataset of a folder's name or of a name in tables, in any case.

    Raises:
        InvalidInput: there is none; the message has the nearest.
    """
    for dataset in DATASETS:
        if name.lower() in (dataset.folder, dataset.name.lower()):
            return dataset
    known = [dataset.folder for dataset in DATASETS]
    raise InvalidInput(f"no dataset of ZEB is called {name!r}{did_you_mean(name.lower(), known)}: {', '.join(known)}")


def in_order(names: Iterable[str]) -> list[str]:
    """Names of datasets in the order of the paper's table; others follow, by name."""
    place = {dataset.name: index for index, dataset in enumerate(DATASETS)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def find_datasets(root: Path, names: Sequence[str] = ()) -> tuple[list[ZebDataset], list[ZebDataset]]:
    """Those of the datasets asked for, all by default, that are in a folder, and those that are not.

    Raises:
        InvalidInput: the folder cannot be read or has none of them, or a name is of no dataset.
    """
    wanted = list(dict.fromkeys(dataset_named(name) for name in names)) or list(DATASETS)
    try:
        there = {entry.name for entry in os.scandir(root) if entry.is_dir()}
    except OSError as error:
        raise InvalidInput(f"{root}: cannot be read ({error.strerror})") from error
    found = [dataset for dataset in wanted if dataset.folder in there]
    if not found:
        folders = ", ".join(dataset.folder for dataset in wanted)
        raise InvalidInput(f"{root}: holds no dataset of ZEB; expected a folder for each of {folders}")
    return found, [dataset for dataset in wanted if dataset not in found]


def read_dataset(root: Path, dataset: ZebDataset, *, max_pairs: int | None = None) -> list[ZebPair]:
    """The pairs of a dataset, in the order of result files: by identifier.

    Args:
        root: the folder of all datasets.
        dataset: which.
        max_pairs: a draw of so many, the one that glue-factory makes; all by default.

    Raises:
        InvalidInput: a text is malformed or names one image twice, an image is absent or a pair is there twice; the
            message names the file.
    """
    folder = root / dataset.folder
    files = sorted(entry.name for entry in os.scandir(folder))
    texts = [name for name in files if name.endswith(".txt")]
    if not texts:
        raise InvalidInput(f"{folder}: holds no pairs, there is no .txt file in it")
    if max_pairs is not None and len(texts) > max_pairs:
        texts = _draw(root, folder.name, texts, max_pairs)
    there = set(files)
    pairs: dict[str, ZebPair] = {}
    text_of: dict[str, str] = {}
    for text in texts:
        pair = _read_pair(folder / text, dataset)
        earlier = text_of.setdefault(pair.identifier, text)
        if earlier != text:
            raise InvalidInput(f"{folder / text}: the pair of {earlier} again, {pair.identifier}")
        if pair.image0 == pair.image1:
            raise InvalidInput(f"{folder / text}, line 1: a pair of the image {pair.image0} with itself")
        for image in (pair.image0, pair.image1):
            if image not in there:
                raise InvalidInput(f"{folder / text}: names the image {image}, which is not in its folder")
        pairs[pair.identifier] = pair
    return [pairs[identifier] for identifier in sorted(pairs)]


def _draw(root: Path, folder: str, texts: Sequence[str], number: int) -> list[str]:
    """Glue-factory's draw: its seed is the place of the folder among all that lie beside it."""
    seed = sorted(entry.name for entry in os.scandir(root)).index(folder)
    stems = sorted(text.removesuffix(".txt") for text in texts)
    drawn = np.random.RandomState(seed).choice(len(stems), number, replace=False)
    return [f"{stems[place]}.txt" for place in drawn]


def _read_pair(path: Path, dataset: ZebDataset) -> ZebPair:
    where = f"{path}, line 1"
    try:
        words = path.read_text(encoding="utf-8").partition("\n")[0].split()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of a pair") from error
    if len(words) != NUM_WORDS:
        raise InvalidInput(f"{where}: expected {NUM_WORDS} words, got {len(words)}")
    scene = path.stem.split(dataset.separator)[0]
    try:
        numbers = np.array(words[2:], np.float64)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    K0, K1, T_0to1 = checked_cameras(numbers[2:], where)
    if not np.isfinite(numbers[:2]).all():
        raise InvalidInput(f"{where}: an overlap that is not finite")
    return ZebPair(
        dataset.identifier(scene, words[0], words[1]),
        scene,
        dataset.image_file(scene, words[0]),
        dataset.image_file(scene, words[1]),
        float(numbers[0]),
        float(numbers[1]),
        K0,
        K1,
        T_0to1,
    )


def _without_suffix(word: str) -> str:
    stem, dot, suffix = word.rpartition(".")
    return stem if dot and suffix.lower() in _IMAGE_SUFFIXES else word
