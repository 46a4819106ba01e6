"""From the name of weights, or the path of a file, to a checked file on this machine. Imports no torch."""

import os
from pathlib import Path

from gim.errors import ConfigError, InvalidInput, LicenceRefused, Unavailable
from gim.records import TeacherWeights
from gim.spelling import did_you_mean
from gim.transfer.disk import disk_errors_named
from gim.transfer.download import Progress
from gim.weights.catalogue import CATALOGUE
from gim.weights.config import WeightsConfig
from gim.weights.fetch import check_cached, fetch_file
from gim.weights.formats import SUFFIXES, file_format
from gim.weights.integrity import DigestMemory, Digests, check_published
from gim.weights.spec import PublishedFile, WeightsFile, WeightsSpec

UNKNOWN = "unknown"
_DIGESTS = "digests.json"  # in the cache
_PERMISSIVE = frozenset(
    (
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC0-1.0",
        "ISC",
        "MIT",
        "Unlicense",
        "Zlib",
    )
)
MAX_LICENCE_CHARACTERS = 200  # of the line beside a weight file


def find_weights(name: str, config: WeightsConfig, report: Progress | None = None) -> WeightsFile:
    """The weight file of a name or path: found in `dir` or the cache, fetched unless offline, and checked.

    Args:
        name: a name of the catalogue; or a path, recognised by its suffix (.pth, .pt, .ckpt, .safetensors).
        config: where to look, and what is allowed.
        report: told of bytes done and in total (0 = unknown) while a file is fetched.

    Raises:
        ConfigError: no such name; the message names the nearest ones.
        InvalidInput: the file is damaged or not what its name says.
        LicenceRefused: the settings do not accept its licence.
        Unavailable: not here, and it cannot be fetched; the message says which file to put where.
    """
    if is_own_file(name):
        return _own_file(name, config)
    spec = spec_named(name)
    _check_licence(spec.name, spec.licence, config, is_permissive=spec.is_permissive)
    for published, path, is_cached in _present(spec, config):
        read = _memory(config).digests_of
        digests = check_cached(path, published, read) if is_cached else _check_given(path, published, read(path))
        file_format(path)
        return _weights_file(spec, path, digests)
    fetchable = next((published for published in spec.files if published.urls), None)
    if config.offline or fetchable is None:
        raise Unavailable(_how_to_get(spec, config))
    try:
        fetched = fetch_file(fetchable, cache_folder(config), report or _tell_nobody)
    except Unavailable as error:
        raise type(error)(f"{error}; {_how_to_get(spec, config)}") from error
    return _weights_file(spec, fetched.path, fetched.digests)


def _tell_nobody(_done: int, _total: int) -> None:
    pass


def spec_named(name: str) -> WeightsSpec:
    """The entry of the catalogue.

    Raises:
        ConfigError: there is none; the message names the nearest ones.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    hint = did_you_mean(name, CATALOGUE, least_similarity=0.5)
    raise ConfigError(
        f"no weights {name!r}{hint}; `gim weights ls` lists the names, and a file is known by its suffix: "
        f"{', '.join(sorted(SUFFIXES))}"
    )


def spec_with(digests: Digests) -> WeightsSpec | None:
    """The entry of the catalogue that a file is, going by its published hash."""
    for spec in CATALOGUE.values():
        for published in spec.files:
            if digests.sha256 == published.sha256 or digests.git_blob == published.git_blob:
                return spec
    return None


def present_file(spec: WeightsSpec, config: WeightsConfig) -> Path | None:
    """Where the weights lie on this machine, unchecked; None when they have to be fetched."""
    return next((path for _, path, _ in _present(spec, config)), None)


def is_own_file(name: str) -> bool:
    """Whether a name is the path of a file of the user's, which its suffix tells, and none of the catalogue's."""
    return Path(name).suffix in SUFFIXES


def own_file_path(name: str, config: WeightsConfig) -> Path | None:
    """Where a file that the user names by its path lies, from here or else from `dir`; None where it is in neither.

    Raises:
        ConfigError: it is not here, and `dir` is no folder.
    """
    path = Path(name).expanduser()
    if not path.is_file() and config.dir:
        path = _given_folder(config) / name
    return path if path.is_file() else None


def cache_folder(config: WeightsConfig) -> Path:
    """The folder of fetched files; it need not exist."""
    if config.cache:
        return Path(config.cache).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "gim" / "weights"


def _present(spec: WeightsSpec, config: WeightsConfig) -> list[tuple[PublishedFile, Path, bool]]:
    """The files of a spec that are here, in the order they are to be taken, and whether each is the cache's."""
    places = [(_given_folder(config), False)] if config.dir else []
    places.append((cache_folder(config), True))
    return [
        (published, folder / published.file, is_cached)
        for folder, is_cached in places
        for published in spec.files
        if (folder / published.file).is_file()
    ]


def _given_folder(config: WeightsConfig) -> Path:
    folder = Path(config.dir).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"weights.dir {config.dir!r}: no such folder")
    return folder


def is_permissive_licence(licence: str) -> bool:
    """Whether a licence, as weights and labels state it, leaves any use free."""
    return licence in _PERMISSIVE


def teacher_weights(file: WeightsFile) -> TeacherWeights:
    """What labels that a file had a part in have to say of it."""
    return TeacherWeights(file.name, file.sha256, file.licence)


def forget_digests(config: WeightsConfig) -> None:
    """Have every file read anew when it is next looked at."""
    path = cache_folder(config) / _DIGESTS
    with disk_errors_named(path):
        path.unlink(missing_ok=True)


def _memory(config: WeightsConfig) -> DigestMemory:
    return DigestMemory(cache_folder(config) / _DIGESTS)


def _check_given(path: Path, published: PublishedFile, digests: Digests) -> Digests:
    try:
        check_published(path, digests, published)
    except InvalidInput as error:
        raise InvalidInput(f"{error}; to use it as a file of your own give its path instead of the name") from error
    return digests


def _weights_file(spec: WeightsSpec, path: Path, digests: Digests) -> WeightsFile:
    return WeightsFile(spec.name, str(path), digests.sha256, spec.licence, spec.is_permissive, spec.traits)


def _own_file(stated_path: str, config: WeightsConfig) -> WeightsFile:
    """A file that the user names by its path; its licence is what the user says, or what its hash tells."""
    path = own_file_path(stated_path, config)
    if path is None:
        places = f"here or in {config.dir}" if config.dir and not Path(stated_path).is_absolute() else "there"
        raise Unavailable(f"weights {stated_path}: there is no such file {places}{_known_as(Path(stated_path).name)}")
    file_format(path)
    digests = _memory(config).digests_of(path)
    spec = spec_with(digests)
    licence, is_permissive = (spec.licence, spec.is_permissive) if spec else (UNKNOWN, False)
    if stated := _stated_licence(path):
        licence, is_permissive = stated, stated in _PERMISSIVE
    _check_licence(stated_path, licence, config, is_permissive=is_permissive)
    name, traits = (spec.name, spec.traits) if spec else (path.name, ())
    return WeightsFile(name, str(path), digests.sha256, licence, is_permissive, traits)


def _stated_licence(path: Path) -> str:
    """The first line of `FILE.licence`; empty when there is none."""
    sidecar = path.with_name(f"{path.name}.licence")
    if not sidecar.is_file():
        return ""
    lines = sidecar.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    return "".join(filter(str.isprintable, lines[0])).strip()[:MAX_LICENCE_CHARACTERS]


def _known_as(file: str) -> str:
    names = [spec.name for spec in CATALOGUE.values() if any(file == published.file for published in spec.files)]
    return f"; the published file of that name is called {names[0]}" if names else ""


def _check_licence(name: str, licence: str, config: WeightsConfig, *, is_permissive: bool) -> None:
    if config.licences == "any" or is_permissive:
        return
    what = f"their licence is {licence!r}" if licence != UNKNOWN else "nobody states their licence"
    state = f"; state it in one line of {Path(name).name}.licence beside the file" if licence == UNKNOWN else ""
    raise LicenceRefused(
        f"weights {name}: {what}, and weights.licences is permissive{state}; --set weights.licences=any allows them"
    )


def _how_to_get(spec: WeightsSpec, config: WeightsConfig) -> str:
    """What a person has to do; one line."""
    wanted = " or ".join(_described(published) for published in spec.files)
    folder = f"{config.dir} (GIM_WEIGHTS__DIR)" if config.dir else "the folder that GIM_WEIGHTS__DIR names"
    urls = [published.urls[0] for published in spec.files if published.urls]
    why = " and weights.offline is set" if config.offline and urls else ""
    return (
        f"weights {spec.name} are not here{why}: put {wanted} into {folder} or into {cache_folder(config)}; "
        f"from {' or '.join([*urls, spec.page])}"
    )


def _described(published: PublishedFile) -> str:
    known = [f"{published.num_bytes} bytes"] if published.num_bytes else []
    known += [f"sha256 {published.sha256}"] if published.sha256 else []
    known += [f"git blob {published.git_blob}"] if published.git_blob else []
    return f"{published.file} ({', '.join(known)})" if known else published.file
