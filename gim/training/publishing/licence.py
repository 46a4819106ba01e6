"""The terms of trained weights: those of everything that they are made of, the most restrictive first.

Nothing is weighed here that somebody would have to argue about. A term that is not among the well-known permissive ones
is passed on as it stands, what nobody states is unknown, and both are said with whose they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gim.datasets.manifest import DatasetManifest
from gim.records import Teacher, UsedWeights
from gim.training.config import MixConfig
from gim.weights.files import MAX_LICENCE_CHARACTERS, UNKNOWN, is_permissive_licence

_LOCAL = "local"  # of a video: a file of the user's own, beside which no licence lies
# Permissive ones by what they ask for, the least first: nothing; a notice; more of the notice; credit of the author.
_BY_DEMANDS = ("CC0-1.0", "Unlicense", "0BSD", "Zlib", "ISC", "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0",
               "CC-BY-3.0", "CC-BY-4.0")  # fmt: skip
# What video sites and people write, lower case.
_SPELLINGS = {
    "cc0": "CC0-1.0",
    "cc0 1.0": "CC0-1.0",
    "public domain": "CC0-1.0",
    "cc by 3.0": "CC-BY-3.0",
    "creative commons attribution license (reuse allowed)": "CC-BY-3.0",  # YouTube's, which is CC BY 3.0
    "creative commons attribution licence (reuse allowed)": "CC-BY-3.0",
    "cc by 4.0": "CC-BY-4.0",
}


@dataclass(frozen=True, slots=True)
class Term:
    """What one part of the whole asks for."""

    licence: str  # as stated, well-known ones by their SPDX id
    whose: str  # "weights superpoint_v1", ...
    kind: str = ""  # of things that are counted, and not named: "video"


def licence_of(dataset: DatasetManifest, weights: Sequence[UsedWeights], mix: MixConfig) -> str:
    """The licence of weights that were trained on a dataset: one line.

    Args:
        dataset: whose videos, teachers and posed sets count as far as `mix` draws from them.
        weights: of others, that they were made with: see `ingredients`.
        mix: of the recipe.

    Returns:
        The SPDX id of the most demanding licence where all are permissive; else all terms that are not, each with whose
        it is, what nobody states last.
    """
    terms = list(terms_of(dataset, weights, mix))
    obstacles = [term for term in terms if not is_permissive_licence(term.licence)]
    if obstacles:
        return _shortened(_described(obstacles))
    return max((term.licence for term in terms), key=_BY_DEMANDS.index, default=UNKNOWN)


def terms_of(dataset: DatasetManifest, weights: Sequence[UsedWeights], mix: MixConfig) -> Iterator[Term]:
    """The terms of everything that weights are made of, repeated as often as they are met."""
    for item in weights:
        yield Term(normalised(item.licence), f"weights {item.name}")
    videos = [video for video in dataset.videos if video.split == "train"]
    if mix.video > 0 and videos:
        yield from _terms_of_teachers(dataset.teachers)
    if mix.video > 0 or mix.homography > 0:
        for video in videos:
            yield Term(normalised(video.licence), f"video {video.video_id}", "video")
    if mix.posed > 0:
        for posed_set in dataset.posed:
            yield Term(UNKNOWN, f"posed set {posed_set.name}")


def normalised(licence: str) -> str:
    """A licence as people and sites write it, by its SPDX id where it is a well-known one."""
    text = " ".join(licence.split())
    spelling = text.lower().replace("cc-by-", "cc by ").replace("cc0-", "cc0 ")
    return _SPELLINGS.get(spelling, text) or UNKNOWN


def _terms_of_teachers(teachers: Iterable[Teacher]) -> Iterator[Term]:
    listed = list(teachers)
    if not listed:
        yield Term(UNKNOWN, "matchers that nobody recorded")
    for teacher in listed:
        yield Term(normalised(teacher.licence), f"matcher {teacher.matcher}")
        for item in (*teacher.weights, *teacher.segmenter_weights):
            yield Term(normalised(item.licence), f"weights {item.name}")


def _described(obstacles: Sequence[Term]) -> list[str]:
    """Each licence with whose it is, those that somebody states first."""
    owners: dict[str, list[Term]] = {}
    for term in obstacles:
        licence = UNKNOWN if term.licence == _LOCAL else term.licence
        owners.setdefault(licence, []).append(term)
    stated_first = sorted(owners, key=lambda text: (text.startswith(UNKNOWN), text))
    return [f"{licence} ({_whose(owners[licence])})" for licence in stated_first]


def _whose(terms: Sequence[Term]) -> str:
    named = list(dict.fromkeys(term.whose for term in terms if not term.kind))
    counted = len({term.whose for term in terms if term.kind})
    if counted == 1:
        named += [term.whose for term in terms if term.kind]
    elif counted:
        named.append(f"{counted} videos")
    return ", ".join(named)


def _shortened(parts: Sequence[str]) -> str:
    """All parts in one line, or as many as fit beside a weight file."""
    line = "; ".join(parts)
    kept = len(parts)
    while len(line) > MAX_LICENCE_CHARACTERS and kept > 1:
        kept -= 1
        line = "; ".join([*parts[:kept], f"and {len(parts) - kept} more"])
    return line if len(line) <= MAX_LICENCE_CHARACTERS else f"{line[: MAX_LICENCE_CHARACTERS - 3]}..."
