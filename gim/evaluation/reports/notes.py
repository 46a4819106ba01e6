"""The notes beneath a report's table: what a mean leaves out, by which protocol a row is, what was misprinted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gim.benchmarks.zeb import DATASETS
from gim.evaluation.protocols import PROTOCOLS, PoseProtocol

# Places of a row that a note can be about, beside its datasets.
NAME = "(name)"
MEAN = "(mean)"
RANK = "(rank)"

_OF_THE_PAPER = "gim"  # the protocol by which the printed rows are
_NUM_PRINTED = 10  # methods among which the paper's ranks are


@dataclass(frozen=True, slots=True)
class Note:
    """A line beneath the table."""

    mark: str  # a number that stands in the table; empty: about all of it
    text: str


@dataclass(slots=True)
class Notes:
    """Collects the notes that places of the table refer to, each text once."""

    all: list[Note] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The mark of the note of this text."""
        for note in self.all:
            if note.text == text:
                return note.mark
        self.all.append(Note(str(len(self.all) + 1), text))
        return self.all[-1].mark


def protocol_of(version: str) -> PoseProtocol | None:
    """The protocol that result files state by their version; None where they name none of ours."""
    return next((item for item in PROTOCOLS if version == item.id or version.startswith(f"{item.id}.")), None)


def about_method(version: str) -> str:
    """What the files of a method say of how they were made."""
    protocol = protocol_of(version)
    if protocol is None:
        return f"Read from files of version {version}, which is no protocol known here; scored as it stands."
    return f"Read from files of protocol {protocol.name}, revision {protocol.revision} ({protocol.source})."


def why_not_whole(num_pairs: Mapping[str, int], expected: Sequence[str]) -> str:
    """Why a mean compares with no other; empty where it is over all that is expected.

    Args:
        num_pairs: of each dataset of the mean.
        expected: datasets.
    """
    published = {dataset.name: dataset.num_pairs for dataset in DATASETS}
    missing = [dataset for dataset in expected if dataset not in num_pairs]
    others = [dataset for dataset in num_pairs if dataset not in expected]
    differing = {name: number for name, number in num_pairs.items() if number != published.get(name, number)}
    reasons = []
    if missing:
        have = f"{len(expected) - len(missing)} of {len(expected)} datasets"
        reasons.append(f"it is over {have}, there are no results of {', '.join(missing)}")
    if others:
        reasons.append(f"it counts what is no dataset of ZEB, {', '.join(others)}")
    if differing:
        found = ", ".join(f"{number:,} of {name} ({published[name]:,})" for name, number in differing.items())
        reasons.append(f"it is over other pairs than are published: {found}")
    return f"This mean compares with none over other pairs: {'; '.join(reasons)}." if reasons else ""


def about_ranks(num_methods: int, num_common: int, *, has_printed: bool) -> list[str]:
    """How the column of ranks is to be read."""
    among = f"the {num_methods} methods read" if num_methods > 1 else "the one method read"
    text = f"Rank: mean rank among {among}, over {num_common} datasets that all of them have, 1 is best"
    if not num_common:
        text = "Rank: none, since no dataset is common to all methods read"
    return [f"{text}; a printed rank is the paper's, among its {_NUM_PRINTED} methods." if has_printed else f"{text}."]


def about_protocols(versions: Mapping[str, str], *, has_printed: bool) -> list[str]:
    """That numbers of unlike protocols stand beside each other, where they do.

    Args:
        versions: of the methods read.
        has_printed: whether printed rows stand beside them.
    """
    of_method = {method: protocol_of(version) for method, version in versions.items()}
    known = {method: protocol for method, protocol in of_method.items() if protocol is not None}
    found = []
    if len({protocol.id for protocol in known.values()}) > 1:
        each = ", ".join(f"{method} is of {protocol.id}" for method, protocol in known.items())
        found.append(f"Numbers of unlike protocols do not compare: {each}.")
    others = [method for method, protocol in known.items() if protocol.name != _OF_THE_PAPER]
    if others and has_printed:
        found.append(
            f"The printed rows are of the original's protocol, with which {', '.join(others)} does not compare."
        )
    return found
