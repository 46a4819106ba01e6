"""Where a benchmark's files of one matcher lie, and how they come about; the same for every benchmark."""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gim import keys
from gim.errors import InvalidInput, Unavailable
from gim.localisation.config import LocalisationConfig
from gim.localisation.growing_file import GrowingFile
from gim.localisation.hloc_files import Pair, read_pairs
from gim.localisation.matching import ImageReader, Progress, extract_features, match_features, match_positions
from gim.localisation.positions import join_positions
from gim.matchers.base import Matcher, SparseMatcher


@dataclass(frozen=True, slots=True)
class Workplace:
    """A matcher at work on the images of one folder; its files lie in a folder of their own."""

    matcher: Matcher
    images: Path
    folder: Path
    config: LocalisationConfig
    executor: Executor
    progress: Progress

    @property
    def features(self) -> Path:
        """`features.h5`, as in `gim.localisation.hloc_files`."""
        return self.folder / "features.h5"

    @property
    def matches(self) -> Path:
        """`matches.h5`, likewise."""
        return self.folder / "matches.h5"

    @property
    def reader(self) -> ImageReader:
        """Images as the matcher wants them."""
        is_sparse = isinstance(self.matcher, SparseMatcher)
        return ImageReader(self.images, self.config.max_side_px, self.matcher.wants_colour or not is_sparse)

    def match(self, pairs: Sequence[Pair], queries: Iterable[str]) -> None:
        """Have features and matches of pairs; those of the database come first (see `join_positions`).

        Raises:
            InvalidInput: an image is absent or cannot be read, or a file of a former run is damaged.
        """
        _check_images(self.images, pairs)
        self.folder.mkdir(parents=True, exist_ok=True)
        shared = (self.executor, self.progress)
        if isinstance(self.matcher, SparseMatcher):
            names = [name for pair in pairs for name in pair]
            extract_features(self.matcher, names, self.reader, GrowingFile(self.features), *shared)
            match_features(self.matcher, pairs, self.features, GrowingFile(self.matches), *shared)
            return
        found = GrowingFile(self.folder / "positions.h5")
        positions = match_positions(self.matcher, pairs, self.reader, found, *shared)
        join_positions(positions, pairs, queries, self.folder, self.config.merge_px)


def _check_images(folder: Path, pairs: Iterable[Pair]) -> None:
    """Before hours of work, see that every image is there."""
    missing = sorted({name for pair in pairs for name in pair if not (folder / name).is_file()})
    if missing:
        raise InvalidInput(f"{folder / missing[0]}: no such image; {len(missing)} that the pairs name are missing")


def work_folder(out: Path, benchmark: str, root: Path, matcher: Matcher, config: LocalisationConfig) -> Path:
    """The folder below `out` for one matcher on one dataset: its name hashes all that changes a match."""
    name = matcher.name.replace(":", "-")
    own = (matcher.identity, config.max_side_px, str(root.resolve()))
    joined = () if isinstance(matcher, SparseMatcher) else (config.merge_px,)
    return out / benchmark / keys.config_id(name, *own, *joined)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other processes of this kind out of it; the lock goes with its process.

    Raises:
        Unavailable: another one is at work in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(f"{folder}: another process is at work in it") from error
    try:
        yield
    finally:
        os.close(descriptor)


def find_retrieval(given: Path | None, root: Path, num_retrieved: int, example: str) -> Path:
    """The list of pairs of queries and database images: the one given, else the one in the dataset's folder.

    Raises:
        InvalidInput: there is none, or several; the message says where they come from.
    """
    found = [given] if given else sorted(root.glob("pairs-query-*.txt"))
    if len(found) == 1 and found[0].is_file():
        return found[0]
    if len(found) > 1:
        raise InvalidInput(
            f"{root}: {len(found)} lists of pairs, {', '.join(p.name for p in found)}; say --retrieval FILE"
        )
    raise InvalidInput(
        f"{given or root / 'pairs-query-*.txt'}: no such list of retrieved images; give --retrieval FILE: hloc has one "
        f"in its repository, {example}, and makes others by its pairs_from_retrieval, {num_retrieved} images a query"
    )


def read_retrieval(path: Path, queries: Iterable[str], database: Iterable[str], where: str) -> dict[str, list[str]]:
    """The database images of each query, the most similar first.

    Args:
        path: of the list, a query and a database image a line.
        queries: names of known queries.
        database: names of known database images.
        where: what the database is, for messages.

    Raises:
        InvalidInput: malformed, or a line names an image that is in neither.
    """
    known_queries, known_images = set(queries), set(database)
    retrieved: dict[str, list[str]] = {}
    for number, (query, image) in read_pairs(path):
        if query not in known_queries:
            raise InvalidInput(f"{path}, line {number}: {query} is no query of the dataset")
        if image not in known_images:
            raise InvalidInput(f"{path}, line {number}: {image} is not in {where}")
        retrieved.setdefault(query, []).append(image)
    return retrieved


def check_folders(root: Path, folders: Sequence[str], source: str) -> None:
    """Look for the folders of a dataset.

    Raises:
        InvalidInput: some are absent; the message names them all.
    """
    missing = [name for name in folders if not (root / name).is_dir()]
    if missing:
        raise InvalidInput(f"{root}: lacks {', '.join(f'{name}/' for name in missing)}; {source}")
