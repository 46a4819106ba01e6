"""Result files of ZEB as the original publishes them: one line per pair, one file per method, dataset and version.

`[T] <method> <dataset> <version>.txt`, the dataset right-aligned to 15 characters. After a header, a line has ten
columns divided by blanks: identifier `scene#name0#name1`, two overlaps, three errors, then precision and number of
RIGHT matches before and after the robust fit. What is read is written again byte for byte.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gim.errors import InvalidInput

HEADER = "identifiers covisible0 covisible1 R_errs t_errs t_errs2 Bef.Prec Bef.Num Aft.Prec Aft.Num"
RIGHT_BELOW = 5e-4  # squared symmetric epipolar distance, normalised coordinates, of a match that counts as right
_NUM_COLUMNS = 10
_DATASET_WIDTH = 15


@dataclass(frozen=True, slots=True)
class PairResult:
    """A line: what became of one pair. Errors of a pair without a pose are infinite."""

    identifier: str
    overlap0: float
    overlap1: float
    rotation_error_deg: float
    translation_error_deg: float  # angle between the directions, the sign left out of account
    translation_error: float  # distance in the unit of the true translation, the sign as it was found
    precision_before: float  # share of the matches that are right
    num_right_before: int
    precision_after: float  # likewise of the inliers
    num_right_after: int

    @property
    def pose_error_deg(self) -> float:
        """The larger of both angles, which is what counts; infinite where either is not a number."""
        largest = max(self.rotation_error_deg, self.translation_error_deg)
        # `max` passes over a NaN that comes second.
        return math.inf if math.isnan(self.rotation_error_deg + self.translation_error_deg) else largest


@dataclass(frozen=True, slots=True)
class ResultsFile:
    """A file: results of one method on one dataset."""

    method: str
    dataset: str  # as in tables: see `gim.benchmarks.zeb`
    version: str
    results: tuple[PairResult, ...]


def results_file_name(method: str, dataset: str, version: str) -> str:
    """The name of a file.

    Raises:
        InvalidInput: a part is empty or has a blank or a slash, and could not be read back.
    """
    for part in (method, dataset, version):
        if not part or part != "".join(part.split()) or "/" in part:
            raise InvalidInput(f"results of {method!r} {dataset!r} {version!r}: a name has no blank and no slash")
    return f"[T] {method} {dataset:>{_DATASET_WIDTH}} {version}.txt"


def results_files_of(path: Path) -> list[Path]:
    """A file of results itself, or all of a folder, by name.

    Raises:
        InvalidInput: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidInput(f"{path}: there is no such file or folder")
    found = sorted(item for item in path.iterdir() if item.name.startswith("[T] ") and item.suffix == ".txt")
    if not found:
        raise InvalidInput(f"{path}: holds no results, files called '[T] METHOD DATASET VERSION.txt'")
    return found


def parts_of_name(path: Path) -> tuple[str, str, str]:
    """Method, dataset and version that a file's name states.

    Raises:
        InvalidInput: it is not the name of a file of results.
    """
    words = path.name.removesuffix(".txt").split()
    if len(words) != 4 or words[0] != "[T]" or path.suffix != ".txt":
        raise InvalidInput(f"{path}: results are in files called '[T] METHOD DATASET VERSION.txt'")
    return words[1], words[2], words[3]


def read_results_file(path: Path) -> ResultsFile:
    """Read a file.

    Raises:
        InvalidInput: unreadable or malformed, or a pair is there twice; the message names the line.
    """
    results = parse_results(_text_of(path), str(path))
    first_line: dict[str, int] = {}
    for number, result in enumerate(results, start=2):
        earlier = first_line.setdefault(result.identifier, number)
        if earlier != number:
            raise InvalidInput(f"{path}, line {number}: the pair of line {earlier} again, {result.identifier}")
    return ResultsFile(*parts_of_name(path), tuple(results))


def read_identifiers(path: Path) -> list[str]:
    """The identifiers of a file, in its order, twice where a pair is there twice.

    Raises:
        InvalidInput: unreadable or malformed.
    """
    return [result.identifier for result in parse_results(_text_of(path), str(path))]


def parse_results(text: str, name: str) -> list[PairResult]:
    """The lines of a text; `name` is what messages call it.

    Raises:
        InvalidInput: no header, no whole last line, or a malformed line.
    """
    lines = text.split("\n")
    if lines[0].split() != HEADER.split():
        raise InvalidInput(f"{name}, line 1: expected the header {HEADER!r}")
    if lines.pop():
        raise InvalidInput(f"{name}, line {len(lines) + 1}: breaks off; the file was not written to its end")
    return [_parse_line(line, name, number) for number, line in enumerate(lines[1:], start=2)]


def format_results(results: Iterable[PairResult]) -> str:
    """The text of a file: header, then the lines in the order of their identifiers."""
    lines = [_format_line(result) for result in sorted(results, key=lambda result: result.identifier)]
    return "\n".join([HEADER, *lines]) + "\n"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of results") from error


def _parse_line(line: str, name: str, number: int) -> PairResult:
    words = line.split()
    if len(words) != _NUM_COLUMNS:
        raise InvalidInput(f"{name}, line {number}: expected {_NUM_COLUMNS} columns, got {len(words)}")
    try:
        numbers = [float(word) for word in words[1:7]]
        return PairResult(
            identifier=words[0],
            overlap0=numbers[0],
            overlap1=numbers[1],
            rotation_error_deg=numbers[2],
            translation_error_deg=numbers[3],
            translation_error=numbers[4],
            precision_before=numbers[5],
            num_right_before=int(words[7]),
            precision_after=float(words[8]),
            num_right_after=int(words[9]),
        )
    except ValueError as error:
        raise InvalidInput(f"{name}, line {number}: {error}") from error


def _format_line(result: PairResult) -> str:
    columns = (
        result.identifier,
        result.overlap0,
        result.overlap1,
        result.rotation_error_deg,
        result.translation_error_deg,
        result.translation_error,
        result.precision_before,
        result.num_right_before,
        result.precision_after,
        result.num_right_after,
    )
    return " ".join(str(column) for column in columns)
