"""What a localisation benchmark ends with: poses in a submission, and a word on every query."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gim.errors import InvalidInput
from gim.localisation.pose import Localisation
from gim.localisation.submission import Bound, read_submission, recall, submitted_name, write_submission
from gim.records import Float64Array
from gim.whole_file import write_whole


@dataclass(frozen=True, slots=True)
class LocalisationResult:
    """A benchmark's outcome."""

    localisations: tuple[Localisation, ...]  # one for every query
    submission: Path
    num_stand_ins: int  # failed queries that are submitted with the pose of the most similar image
    recall: dict[str, dict[str, float]] | None  # percent by group and bound; None: the truth is not known
    notes: tuple[str, ...] = ()  # what looks wrong in the dataset, for people

    @property
    def failures(self) -> dict[str, str]:
        """Queries without a pose of their own, and why."""
        return {found.name: found.reason for found in self.localisations if found.pose is None}


@dataclass(frozen=True, slots=True)
class Truth:
    """Known poses, and how they are compared."""

    poses: Mapping[str, Float64Array]  # world to camera [4, 4], by name without folder
    bounds: tuple[Bound, ...]
    group_of: Callable[[str], str]  # of a name without folder

    @classmethod
    def read(
        cls, path: Path, queries: Sequence[str], bounds: tuple[Bound, ...], group_of: Callable[[str], str]
    ) -> "Truth":
        """Poses of some or all queries, in the format of a submission; `group_of` takes a query's full name.

        Raises:
            InvalidInput: malformed, or it names an image that is no query.
        """
        full_names = {submitted_name(name): name for name in queries}
        poses = read_submission(path)
        for name in poses:
            if name not in full_names:
                raise InvalidInput(f"{path}: {name} is no query of the dataset")
        return cls(poses, bounds, lambda name: group_of(full_names[name]))


def conclude(
    localisations: Sequence[Localisation],
    stand_ins: Mapping[str, Float64Array],
    submission: Path,
    truth: Truth | None,
    notes: Sequence[str] = (),
) -> LocalisationResult:
    """Write the submission, and beside it `queries.json` with a word on every query.

    Args:
        localisations: one for every query.
        stand_ins: poses to submit for queries that failed, by name.
        submission: path of the file.
        truth: where it is known.
        notes: passed on.
    """
    found = {item.name: stand_ins.get(item.name) if item.pose is None else item.pose for item in localisations}
    poses = {name: pose for name, pose in found.items() if pose is not None}
    write_submission(submission, poses)
    words = [{key: value for key, value in _facts(item).items() if key != "pose"} for item in localisations]
    write_whole(submission.with_name("queries.json"), json.dumps(words, indent=1) + "\n")
    shares = None
    if truth is not None:
        short = {submitted_name(name): pose for name, pose in poses.items()}
        shares = recall(short, truth.poses, truth.bounds, truth.group_of)
    num_stand_ins = sum(item.pose is None and item.name in stand_ins for item in localisations)
    return LocalisationResult(tuple(localisations), submission, num_stand_ins, shares, tuple(notes))


def _facts(item: Localisation) -> dict[str, object]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
