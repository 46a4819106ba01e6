"""Poses of queries as visuallocalization.net takes them, and their recall where the truth is known.

A line is `name qw qx qy qz tx ty tz`: the name without its folder, and the pose that takes points of the world into
the camera (x right, y down, z forward), its rotation as a unit quaternion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial.transform import Rotation

from gim.errors import InvalidInput
from gim.geometry.pose import rotation_error_deg
from gim.localisation.hloc_files import read_lines
from gim.records import Float64Array
from gim.whole_file import write_whole

_NUM_WORDS = 8
_UNIT = 1e-2  # how far a quaternion's length may be from one: poses are printed with few digits


@dataclass(frozen=True, slots=True)
class Bound:
    """A pose counts as right when its camera stands no farther off and is turned no more than this."""

    metres: float
    degrees: float

    @property
    def name(self) -> str:
        """In reports."""
        return f"{self.metres:g}m/{self.degrees:g}deg"


def submitted_name(name: str) -> str:
    """What the site calls an image."""
    return PurePosixPath(name).name


def write_submission(path: Path, poses: Mapping[str, Float64Array]) -> None:
    """Write poses [4, 4], world to camera, by name of the query; whole or not at all.

    Raises:
        InvalidInput: two queries have one name once their folders are gone.
    """
    owner: dict[str, str] = {}
    lines = []
    for name, pose in poses.items():
        short = submitted_name(name)
        if owner.setdefault(short, name) != name:
            raise InvalidInput(f"{path}: {owner[short]} and {name} are both {short} in a submission")
        numbers = [*Rotation.from_matrix(pose[:3, :3]).as_quat(canonical=True, scalar_first=True), *pose[:3, 3]]
        lines.append(" ".join([short, *(f"{number:.12g}" for number in numbers)]) + "\n")
    write_whole(path, "".join(lines))


def read_submission(path: Path) -> dict[str, Float64Array]:
    """Poses [4, 4], world to camera, by short name.

    Raises:
        InvalidInput: unreadable, empty, or a line is not a pose or names an image again.
    """
    poses: dict[str, Float64Array] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        words = line.split()
        if len(words) != _NUM_WORDS:
            raise InvalidInput(f"{where}: expected NAME QW QX QY QZ TX TY TZ, got {len(words)} words")
        short = submitted_name(words[0])
        if short in poses:
            raise InvalidInput(f"{where}: {short} again")
        poses[short] = _parse_pose(words[1:], where)
    if not poses:
        raise InvalidInput(f"{path}: holds no poses")
    return poses


def _parse_pose(words: Sequence[str], where: str) -> Float64Array:
    try:
        numbers = np.array(words, np.float64)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    if not np.isfinite(numbers).all() or abs(np.linalg.norm(numbers[:4]) - 1) > _UNIT:
        raise InvalidInput(f"{where}: not a unit quaternion and a translation")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(numbers[:4], scalar_first=True).as_matrix()
    pose[:3, 3] = numbers[4:]
    return pose


def pose_error(pose: Float64Array, true_pose: Float64Array) -> tuple[float, float]:
    """Metres between the two cameras' centres, and degrees between their rotations."""
    centre, true_centre = (-item[:3, :3].T @ item[:3, 3] for item in (pose, true_pose))
    return float(np.linalg.norm(centre - true_centre)), rotation_error_deg(pose[:3, :3], true_pose[:3, :3])


def recall(
    poses: Mapping[str, Float64Array],
    truth: Mapping[str, Float64Array],
    bounds: Sequence[Bound],
    group_of: Callable[[str], str] = lambda _: "",
) -> dict[str, dict[str, float]]:
    """Percent of the images with a known pose that are right, by group and bound.

    Args:
        poses: by short name; an image without one is wrong.
        truth: by short name.
        bounds: as of `Bound`; a pose at a bound is right.
        group_of: the group of a short name, beside `all`; "" for none.
    """
    errors = {
        name: pose_error(poses[name], true) if name in poses else (np.inf, np.inf) for name, true in truth.items()
    }
    groups: dict[str, list[tuple[float, float]]] = {"all": list(errors.values())}
    for name, error in errors.items():
        if group := group_of(name):
            groups.setdefault(group, []).append(error)
    return {group: {bound.name: _share(members, bound) for bound in bounds} for group, members in groups.items()}


def _share(errors: Sequence[tuple[float, float]], bound: Bound) -> float:
    right = sum(metres <= bound.metres and degrees <= bound.degrees for metres, degrees in errors)
    return 100 * right / len(errors)
