"""What is known of published weights: where they are, how they are checked, what may be done with them."""

from dataclasses import dataclass
from typing import Literal

# What some files of an architecture want otherwise than the rest: images without ImageNet's mean and in units of its
# deviation; LoFTR's position encoding as its paper has it, and not as its first release computed it.
Trait = Literal["imagenet_input", "corrected_positions"]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file that holds the weights of a spec."""

    file: str  # its name in a folder of weights
    urls: tuple[str, ...] = ()  # tried in order; empty = it has to be fetched by hand, see the spec's page
    num_bytes: int | None = None
    sha256: str = ""  # empty, like `git_blob`, where nobody states it: then the first one fetched is trusted
    git_blob: str = ""  # sha1 of `blob <size>\0` + content, for files that stand in a git repository


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """Published weights under one name; any of their files will do."""

    name: str  # what settings and commands call them
    files: tuple[PublishedFile, ...]  # preferred first
    licence: str  # of the weights, SPDX where there is one
    is_permissive: bool  # nothing the publisher says restricts what they, and what they label, are used for
    what: str  # one line: which network, trained by whom on what
    page: str  # where a person finds them
    traits: tuple[Trait, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weight file on this machine, checked."""

    name: str  # of its spec, or its file name
    path: str
    sha256: str
    licence: str  # "unknown" for a user's own file that says nothing
    is_permissive: bool
    traits: tuple[Trait, ...] = ()  # none are known of a user's own file
