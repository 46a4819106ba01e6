"""WxBS 1.1 (Mishkin et al., BMVC 2015): hard pairs with correspondences that people marked. Matches and scores nothing.

A pair is a folder `<kind>/<pair>` with `01.png` and `02.png` (or `.jpg`) and `corrs.txt`, a line `x0 y0 x1 y1` for
every correspondence. Kinds say what changes: Geometry, iLlumination, Sensor, Appearance, as in `WGALBS`. Of 34 pairs,
two are for validation. Positions are taken as they are, with the origin at the centre of the top-left pixel.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim.errors import InvalidInput
from gim.records import Float64Array

VALIDATION = ("kyiv_dolltheater2", "petrzin")  # by the authors' own reader
NUM_TEST_PAIRS = 32
SUBSETS = ("test", "val", "all")
_FOLDERS = ("", "v1.1", "WxBS_v1.1")  # the data may lie in one of these
_SUFFIXES = ("png", "jpg")
_MIN_MARKED = 8  # fewer fit some fundamental matrix whatever they are


@dataclass(frozen=True, slots=True, eq=False)
class MarkedPair:
    """Two images, and places that people found in both."""

    name: str  # `<kind>/<pair>`
    group: str  # the kind
    image0: str  # path, relative to the folder of the benchmark
    image1: str
    points: Float64Array  # [N, 4] rows (x0, y0, x1, y1), pixels


def read_wxbs(root: Path, subset: str = "test") -> list[MarkedPair]:
    """The pairs of a subset, by name.

    Args:
        root: the published folder, or the one above it; names of images are relative to it.
        subset: `test`, `val` or `all`.

    Raises:
        InvalidInput: the folder has none, an image is absent, or marks are malformed; the message names the file.
    """
    if subset not in SUBSETS:
        raise InvalidInput(f"no subset {subset!r} of WxBS: {', '.join(SUBSETS)}")
    folders = _pair_folders(root)
    chosen = [path for path in folders if subset == "all" or (path.name in VALIDATION) == (subset == "val")]
    if not chosen:
        raise InvalidInput(f"{root}: holds no pair of WxBS's subset {subset}; expected <kind>/<pair>/corrs.txt")
    return [_read_pair(path, root) for path in chosen]


def _pair_folders(root: Path) -> list[Path]:
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise InvalidInput(f"{root}: cannot be read ({error.strerror})") from error
    found = {path.parent for folder in _FOLDERS for path in (root / folder).glob("*/*/corrs.txt")}
    return sorted(found)


def _read_pair(folder: Path, root: Path) -> MarkedPair:
    path = folder / "corrs.txt"
    suffix = next((each for each in _SUFFIXES if (folder / f"01.{each}").exists()), _SUFFIXES[0])
    images = [folder / f"{number}.{suffix}" for number in ("01", "02")]
    for image in images:
        if not image.exists():
            raise InvalidInput(f"{folder}: the image {image.name} is not there")
    image0, image1 = (image.relative_to(root).as_posix() for image in images)
    name = f"{folder.parent.name}/{folder.name}"
    return MarkedPair(name, folder.parent.name, image0, image1, _read_marks(path))


def _read_marks(path: Path) -> Float64Array:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of correspondences") from error
    rows = [_read_row(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if len(rows) < _MIN_MARKED:
        raise InvalidInput(f"{path}: holds {len(rows)} correspondences, fewer than {_MIN_MARKED} say nothing")
    return np.array(rows)


def _read_row(line: str, where: str) -> list[float]:
    try:
        numbers = [float(word) for word in line.replace(",", " ").split()]
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise InvalidInput(f"{where}: expected 4 finite numbers, x0 y0 x1 y1")
    return numbers
