"""HPatches (Balntas et al., CVPR 2017): sequences of six images of a plane, as published. Matches and scores nothing.

A sequence is a folder `i_*` (the light changes) or `v_*` (the viewpoint does) with the images `1.ppm` to `6.ppm` and
the texts `H_1_2` to `H_1_6`, three lines of three numbers each: the map from image 1. 116 are published; evaluations
of homographies leave out the eight with the largest images, which makes 52 and 56, as D2-Net did first.
"""

from collections.abc import Sequence
from pathlib import Path

from gim.benchmarks.homography_pairs import PlanePair, parse_homography
from gim.benchmarks.image_sizes import ImageSizes
from gim.errors import InvalidInput
from gim.spelling import did_you_mean

FOLDER = "hpatches-sequences-release"
EXCLUDED = (
    "i_contruction",
    "i_crownnight",
    "i_dc",
    "i_pencils",
    "i_whitebuilding",
    "v_artisans",
    "v_astronautis",
    "v_talent",
)
NUM_SEQUENCES = {"illumination": 52, "viewpoint": 56}  # what remains
_GROUPS = {"i_": "illumination", "v_": "viewpoint"}
_OTHERS = range(2, 7)  # images that are matched with the first
_SUFFIXES = ("ppm", "png")  # as published; as some keep them


def read_hpatches(root: Path, *, excluded: Sequence[str] | None = None) -> list[PlanePair]:
    """The five pairs of every sequence, by name.

    Args:
        root: the published folder, or the one above it; names of images are relative to it.
        excluded: sequences to leave out; None: the usual eight, those of them that are there.

    Raises:
        InvalidInput: the folder has no sequence or not an excluded one, an image is absent, or a text is malformed.
    """
    folder = root / FOLDER if (root / FOLDER).is_dir() else root
    there = _sequences(folder)
    for name in excluded or ():
        if name not in there:
            raise InvalidInput(f"{folder}: no sequence {name!r} to leave out{did_you_mean(name, there)}")
    left_out = EXCLUDED if excluded is None else excluded
    sizes = ImageSizes(root)
    pairs = [
        pair
        for name in there
        if name not in left_out
        for pair in _read_sequence(folder.relative_to(root) / name, root, sizes)
    ]
    if not pairs:
        raise InvalidInput(f"{folder}: every sequence is left out")
    return pairs


def count_sequences(pairs: Sequence[PlanePair]) -> dict[str, int]:
    """How many sequences of each group pairs come from."""
    found = {(pair.group, Path(pair.image0).parent) for pair in pairs}
    return {group: sum(name == group for name, _ in found) for group in _GROUPS.values()}


def _sequences(folder: Path) -> list[str]:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[:2] in _GROUPS)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read ({error.strerror})") from error
    if not names:
        raise InvalidInput(f"{folder}: holds no sequence of HPatches; expected folders i_* and v_*")
    return names


def _read_sequence(sequence: Path, root: Path, sizes: ImageSizes) -> list[PlanePair]:
    suffix = next((each for each in _SUFFIXES if (root / sequence / f"1.{each}").exists()), _SUFFIXES[0])
    pairs = []
    for other in _OTHERS:
        path = root / sequence / f"H_1_{other}"
        try:
            words = path.read_text(encoding="utf-8").split()
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path}: not a text of a homography") from error
        H01 = parse_homography(words, str(path))
        image0, image1 = ((sequence / f"{number}.{suffix}").as_posix() for number in (1, other))
        size0, size1 = (sizes.of(name, str(root / sequence)) for name in (image0, image1))
        pairs.append(PlanePair(image0, image1, H01, size0, size1, _GROUPS[sequence.name[:2]]))
    return pairs
