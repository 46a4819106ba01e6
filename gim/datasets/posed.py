"""Posed sets in a dataset: which scenes with how many pairs, each index by its hash. Where they lie is a setting.

A manifest names no folder, so that it is the same on every machine; `dataset.posed_roots` says where a set of this name
lies on this one.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gim.datasets.manifest import PosedKind, PosedSceneEntry, PosedSet
from gim.datasets.splits import split_of
from gim.errors import ConfigError, InvalidInput
from gim.spelling import did_you_mean
from gim.training.data.posed.layouts import list_scenes, read_scene
from gim.training.data.posed.options import KINDS, PosedOptions, described, options_of
from gim.training.data.posed.scene import SceneFiles, index_sha256

_NAME = re.compile("[a-z0-9_]+")  # a variable of the environment can hold it
_THREADS = 4  # that read indices: much of it is Python


@dataclass(frozen=True, slots=True)
class PosedRequest:
    """A posed set as somebody asks for it."""

    kind: PosedKind
    name: str
    folder: str  # empty: the setting says it
    options: PosedOptions


def parse_posed(text: str) -> PosedRequest:
    """A set asked for as `KIND[=FOLDER][,option=value]...`; `name` is an option, by default the kind.

    Raises:
        ConfigError: no such kind or option.
    """
    first, *others = text.split(",")
    kind_text, _, folder = first.partition("=")
    kind = next((kind for kind in KINDS if kind == kind_text.strip()), None)
    if kind is None:
        hint = did_you_mean(kind_text, KINDS)
        raise ConfigError(f"posed set {text!r}: no kind {kind_text!r}{hint}; as in {KINDS[0]}=FOLDER or {KINDS[1]}=...")
    given: dict[str, str] = {}
    for other in others:
        option, equals, value = other.partition("=")
        if not equals or option.strip() in given:
            raise ConfigError(f"posed set {text!r}: expected option=value, each once, got {other!r}")
        given[option.strip()] = value.strip()
    name = given.pop("name", kind)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"posed set {text!r}: name {name!r} is not of small letters, digits and _")
    return PosedRequest(kind, name, folder.strip(), options_of(kind, given))


def plan_posed_set(
    request: PosedRequest, roots: Mapping[str, str], *, held_out_share: float, held_out_seed: int
) -> PosedSet:
    """The set that belongs into a manifest: every index is read and hashed, no image is looked at.

    Args:
        request: what is asked for.
        roots: folders by name, for a request that has none.
        held_out_share: of all possible scenes; what is held out once always is.
        held_out_seed: another one holds out others.

    Raises:
        ConfigError: nobody says where it lies.
        InvalidInput: it is not there, of another layout, damaged, or without a pair.
    """
    root = Path(request.folder) if request.folder else posed_root(request.name, roots)
    listed = list_scenes(request.kind, root, request.options)

    def entry(files: SceneFiles) -> PosedSceneEntry:
        split = split_of(f"{request.name}/{files.name}", held_out_share, held_out_seed)
        num_pairs = len(read_scene(request.kind, files, request.options))
        return PosedSceneEntry(files.name, split, num_pairs, index_sha256(files.index))

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="posed") as executor:
        scenes = [scene for scene in executor.map(entry, listed) if scene.num_pairs]
    if not scenes:
        raise InvalidInput(f"{root}: no pair of {len(listed)} scenes is within the options of posed set {request.name}")
    return PosedSet(request.name, request.kind, described(request.kind, request.options), scenes)


def posed_root(name: str, roots: Mapping[str, str]) -> Path:
    """Where a set lies on this machine.

    Raises:
        ConfigError: no setting says it.
    """
    if name not in roots:
        raise ConfigError(f"posed set {name}: set dataset.posed_roots.{name} to its folder on this machine")
    return Path(roots[name])


def posed_set_faults(posed_set: PosedSet, roots: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What keeps a set from being read as it was listed: scene, file of its index, and why.

    Args:
        posed_set: of a manifest.
        roots: folders by name.
    """
    try:
        options = options_of(posed_set.kind, posed_set.options)
        listed = list_scenes(posed_set.kind, posed_root(posed_set.name, roots), options)
    except (ConfigError, InvalidInput) as error:
        yield "", "", str(error)
        return
    there = {files.name: files for files in listed}
    for scene in posed_set.scenes:
        files = there.get(scene.name)
        if files is None:
            yield scene.name, "", "is no longer there"
            continue
        try:
            if index_sha256(files.index) != scene.index_sha256:
                yield (
                    scene.name,
                    str(files.index[0]),
                    f"{files.index[0]} has changed: its SHA-256 is not its manifest's",
                )
        except InvalidInput as error:
            yield scene.name, str(files.index[0]), str(error)
