"""What every source of posed images is read into: scenes of images, each with its camera and what it shares.

Knows no format; see `sources`. Axes as in OpenCV: x right, y down, z forward. Pixels: origin at the CENTRE of the
top-left pixel.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gim.errors import InvalidInput
from gim.geometry.pose import as_pose
from gim.records import Float64Array, Int64Array

_ORTHONORMAL = 1e-2  # how far a rotation's rows may be from it: poses are printed with few digits
_MOST_NAMED = 3  # files in one message

Distortion = Callable[[Float64Array], Float64Array]


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """How a camera forms its image; images of one camera share one."""

    name: str  # what messages call it
    K: Float64Array  # [3, 3] pixels, of the pinhole camera in it
    size: tuple[int, int] | None  # width and height that its images must have; None: all the same
    distort: Distortion | None = None  # rays (x, y) at depth 1, [N, 2], to pixels [N, 2]; None: a pinhole


@dataclass(frozen=True, slots=True)
class DepthFile:
    """Where the depth of an image's pixels lies."""

    path: Path
    units_per_unit: float  # what numbers of an integer image are divided by, to be in the poses' unit of length


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """One image of a source."""

    name: str  # as the source calls it, with slashes
    path: Path
    lens: Lens
    T_camera_to_world: Float64Array  # [4, 4]
    depth: DepthFile | None = None
    points: Int64Array | None = None  # ids of the tracked points it sees, ascending, each once; None: not known


@dataclass(frozen=True, slots=True, eq=False)
class SourceScene:
    """Images in one system of coordinates."""

    name: str
    images: tuple[SourceImage, ...]


def checked_pose(rows: npt.ArrayLike, where: str) -> Float64Array:
    """A camera's pose [4, 4] from 12 or 16 numbers, rounded to the nearest rotation; `where` is for messages.

    Raises:
        InvalidInput: other numbers, or no rotation and translation.
    """
    try:
        pose = as_pose(rows)
    except (InvalidInput, ValueError, TypeError) as error:
        raise InvalidInput(f"{where}: {error}") from error
    R = pose[:3, :3]
    if not np.isfinite(pose).all():
        raise InvalidInput(f"{where}: a pose holds a number that is not finite")
    if np.abs(R @ R.T - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(R) < 0:
        raise InvalidInput(f"{where}: the pose is no rotation and translation; take scale and mirroring out of it")
    left, _, right = np.linalg.svd(R)
    pose[:3, :3] = left @ right
    return pose


def pinhole_matrix(fx: float, fy: float, cx: float, cy: float, where: str) -> Float64Array:
    """K [3, 3].

    Raises:
        InvalidInput: not finite, or a focal length that is not positive.
    """
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
    if not np.isfinite(K).all() or min(fx, fy) <= 0:
        raise InvalidInput(f"{where}: focal lengths {fx:g} and {fy:g} that no camera has")
    return K


def check_there(paths: Iterable[Path], what: str, place: Path) -> None:
    """Refuse files that are absent, naming the first ones.

    Raises:
        InvalidInput: at least one is.
    """
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InvalidInput(f"{place}: names {len(absent)} {what} that are absent: {named_first(map(str, absent))}")


def named_first(names: Iterable[str]) -> str:
    """The first names of many, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more


def read_numbers(line: str, counts: Sequence[int], where: str) -> list[float]:
    """The numbers of a line.

    Raises:
        InvalidInput: a word is no number, or there are not as many as there may be.
    """
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    if len(numbers) not in counts:
        raise InvalidInput(f"{where}: expected {' or '.join(map(str, counts))} numbers, got {len(numbers)}")
    return numbers


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Lines of a text with their numbers, without blank ones and comments.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text") from error
    numbered = enumerate(lines, start=1)
    return [(number, line) for number, line in numbered if line.strip() and not line.lstrip().startswith("#")]
