"""Pairs of images of one plane, as text: one line per pair. Matches and scores nothing.

After a comment line (`#`), 11 fields divided by blanks: `image0 image1 H(9)`, the matrix row by row; it takes a pixel
(x, y, 1) of image 0 into image 1. Images are paths relative to the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from gim.benchmarks.image_sizes import ImageSizes
from gim.errors import InvalidInput
from gim.records import Float64Array

_NUM_FIELDS = 11
_SINGULAR = 1e12  # condition beyond which a matrix has no inverse worth the name; of real ones it is below 1e7


@dataclass(frozen=True, slots=True, eq=False)
class PlanePair:
    """Two images of one plane, and the map that is true between them."""

    image0: str  # path, relative to the folder of the benchmark
    image1: str
    H01: Float64Array  # [3, 3] takes pixels of image 0 into image 1
    size0: tuple[int, int]  # width and height, pixels
    size1: tuple[int, int]
    group: str  # what it is scored together with


def read_homography_pairs(path: Path) -> list[PlanePair]:
    """The pairs of a file, in order; those of one folder of images are a group.

    Raises:
        InvalidInput: unreadable, without a pair or malformed, or an image is absent or none; the message names the
            line.
    """
    pairs: list[PlanePair] = []
    first_line: dict[tuple[str, str], int] = {}
    sizes = ImageSizes(path.parent)
    for number, words in _lines(path):
        where = f"{path}, line {number}"
        if len(words) != _NUM_FIELDS:
            raise InvalidInput(f"{where}: expected {_NUM_FIELDS} fields, got {len(words)}")
        image0, image1 = words[:2]
        earlier = first_line.setdefault((image0, image1), number)
        if earlier != number:
            raise InvalidInput(f"{where}: the pair of line {earlier} again, {image0} and {image1}")
        H01 = parse_homography(words[2:], where)
        group = str(PurePosixPath(image0).parent)
        pairs.append(PlanePair(image0, image1, H01, sizes.of(image0, where), sizes.of(image1, where), group))
    if not pairs:
        raise InvalidInput(f"{path}: holds no pairs")
    return pairs


def parse_homography(words: list[str], where: str) -> Float64Array:
    """A [3, 3] homography of its nine numbers; `where` is what messages call the place.

    Raises:
        InvalidInput: not nine finite numbers, or a matrix that cannot be inverted.
    """
    if len(words) != 9:
        raise InvalidInput(f"{where}: expected the 9 numbers of a homography, got {len(words)}")
    try:
        H01 = np.array(words, np.float64).reshape(3, 3)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    if not np.isfinite(H01).all():
        raise InvalidInput(f"{where}: a homography holds a number that is not finite")
    if is_singular(H01):
        raise InvalidInput(f"{where}: not a homography, the matrix cannot be inverted")
    return H01


def is_singular(H01: npt.ArrayLike) -> bool:
    """Whether a [3, 3] matrix takes a plane to a line or a point."""
    return not np.linalg.cond(np.asarray(H01, np.float64)) < _SINGULAR


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that is no comment, with its number."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot read the pairs ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of pairs") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.split()
