"""Which pairs of images are matched: all, neighbours in a sequence, listed ones. Similar ones: `retrieval`."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from gim.errors import InvalidInput
from gim.reconstruction.config import AUTO, EXHAUSTIVE, RETRIEVAL, SEQUENTIAL, ReconstructionConfig

Pair = tuple[int, int]  # positions of images in the list, the smaller first
Similar = Callable[[int], list[Pair]]  # pairs of each image and so many that look like it


def choose_pairs(names: Sequence[str], config: ReconstructionConfig, similar: Similar) -> list[Pair]:
    """The pairs to match, ascending.

    Args:
        names: of the images, in order; for a sequence the order of time.
        config: `pairs` says how they are chosen.
        similar: asked where images are chosen by their looks.

    Raises:
        InvalidInput: a file of pairs that cannot be read, or with an image that is not there.
    """
    kind = config.pairs
    if kind == AUTO:
        kind = EXHAUSTIVE if len(names) <= config.max_exhaustive else RETRIEVAL
    if kind == EXHAUSTIVE:
        return list(combinations(range(len(names)), 2))
    if kind == RETRIEVAL:
        return similar(config.num_similar)
    if kind == SEQUENTIAL:
        return sorted({*neighbours(len(names), config.overlap), *similar(config.num_similar)})
    return read_pairs(Path(kind), names)


def neighbours(num_images: int, overlap: int) -> list[Pair]:
    """Each image with the `overlap` that follow it, ascending."""
    return [
        (first, second)
        for first in range(num_images)
        for second in range(first + 1, min(first + overlap + 1, num_images))
    ]


def read_pairs(path: Path, names: Sequence[str]) -> list[Pair]:
    """The pairs of a file with two image names to a line, as COLMAP and hloc write them; `#` begins a comment.

    Raises:
        InvalidInput: no such file, a line of other than two names, an unknown image, an image with itself, or no pair.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        kinds = f"{EXHAUSTIVE}, {SEQUENTIAL}, {RETRIEVAL} or a file"
        raise InvalidInput(f"pairs {path}: {reason}; expected {kinds}") from error
    place = {name: index for index, name in enumerate(names)}
    pairs: set[Pair] = set()
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise InvalidInput(f"pairs {path}, line {number}: {len(words)} words; expected two image names")
        if unknown := [word for word in words if word not in place]:
            raise InvalidInput(f"pairs {path}, line {number}: no image {unknown[0]}; names are like {names[0]}")
        first, second = sorted(place[word] for word in words)
        if first == second:
            raise InvalidInput(f"pairs {path}, line {number}: {words[0]} with itself")
        pairs.add((first, second))
    if not pairs:
        raise InvalidInput(f"pairs {path}: no pair in it")
    return sorted(pairs)
