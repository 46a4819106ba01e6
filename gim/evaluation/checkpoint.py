"""From a checkpoint in a Store to the matcher that runs with it: fetched, checked by its manifest, or refused."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gim import codecs, keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources, NetworkMatcher
from gim.matchers.registry import load_matcher, matcher_class
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest
from gim.weights.formats import SUFFIXES


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which weights of which matcher, as an event names them."""

    run_id: str
    step: int
    matcher: str
    key: str = ""  # of the weights in the store; empty: those that the matcher's settings name, or none
    dataset_id: str = ""  # that it was trained on


@contextmanager
def checkpoint_matcher(
    store: Store,
    checkpoint: Checkpoint,
    settings: Mapping[str, Any],
    resources: ModelResources,
    *,
    work_dir: Path | None = None,
) -> Iterator[Matcher]:
    """The matcher of a checkpoint with its weights loaded, for as long as the block runs.

    Args:
        store: holds the weights and, perhaps, their manifest.
        checkpoint: which.
        settings: the matcher's own; those that the manifest states are stronger.
        resources: device, and where weights that are not of the checkpoint are found.
        work_dir: for links to fetched files; the system's temporary folder by default.

    Raises:
        InvalidInput: the weights are not in the store, are not those of their manifest, or do not fit the matcher; or
            `weights.licences` refuses them (`LicenceRefused`).
        UnknownMatcher: no such matcher, or it cannot run here.
        ConfigError: settings that the matcher does not have.
        Unavailable: the store, or weights that are not of the checkpoint, cannot be reached.
    """
    kind = matcher_class(checkpoint.matcher)
    if not checkpoint.key:
        yield load_matcher(checkpoint.matcher, settings, resources)
        return
    if not issubclass(kind, NetworkMatcher):
        raise InvalidInput(f"checkpoint {checkpoint.key}: matcher {kind.name} has no weights to load")
    manifest = read_checkpoint_manifest(store, checkpoint)
    files = manifest.files if manifest else [CheckpointFile(checkpoint.key, "", 0)]
    stated = manifest.settings if manifest else {}
    with ExitStack() as fetched:
        folder = Path(fetched.enter_context(TemporaryDirectory(prefix="gim-checkpoint-", dir=work_dir)))
        paths = {
            setting_of(kind, file): _fetched(store, file, folder, fetched, manifest.licence if manifest else "")
            for file in files
        }
        weights = {setting: str(path) for setting, path in paths.items()}
        try:
            matcher = load_matcher(checkpoint.matcher, {**settings, **stated, **weights}, resources)
            assert isinstance(matcher, NetworkMatcher)
            _check_hashes(matcher, files)
            _ = matcher.network  # built here, so that what does not fit is told at once
        except CorruptObject:
            raise
        except InvalidInput as error:
            said = str(error).replace(f"{folder}/", "")
            raise type(error)(f"checkpoint {checkpoint.key} cannot run as {kind.name}: {said}") from error
        yield matcher


def read_checkpoint_manifest(store: Store, checkpoint: Checkpoint) -> CheckpointManifest | None:
    """What is written of a checkpoint beside it; None where nothing is.

    Raises:
        InvalidInput: it speaks of another file or another matcher, or is damaged.
    """
    key = keys.checkpoint_manifest(checkpoint.run_id, checkpoint.step)
    try:
        manifest = codecs.from_json(CheckpointManifest, store.get(key))
    except KeyMissing:
        return None
    if manifest.matcher != checkpoint.matcher or checkpoint.key not in [file.key for file in manifest.files]:
        raise InvalidInput(
            f"checkpoint {checkpoint.key}: {key} speaks of matcher {manifest.matcher} and of "
            f"{', '.join(file.key for file in manifest.files) or 'no file'}"
        )
    return manifest


def setting_of(kind: type[NetworkMatcher], file: CheckpointFile) -> str:
    """The setting of the matcher that names a file of weights.

    Raises:
        InvalidInput: the matcher has several, and the file does not say which.
    """
    fields = kind.weight_fields
    setting = file.setting or (fields[0] if len(fields) == 1 else "weights")
    if setting not in fields:
        raise InvalidInput(
            f"checkpoint {file.key}: which weights of {kind.name} are these? Its manifest has to state `setting`, "
            f"one of {', '.join(fields)}"
        )
    return setting


def _fetched(store: Store, file: CheckpointFile, folder: Path, held: ExitStack, licence: str) -> Path:
    """A local file of the object's own name: what a file is goes by its suffix."""
    path = folder / file.key.replace("/", "_")
    if path.suffix not in SUFFIXES:
        raise InvalidInput(f"checkpoint {file.key}: a file of weights ends in {', '.join(sorted(SUFFIXES))}")
    try:
        path.symlink_to(held.enter_context(store.fetch(file.key)).resolve())
    except KeyMissing as error:
        raise InvalidInput(f"checkpoint {file.key}: is not in the store") from error
    if licence:
        path.with_name(f"{path.name}.licence").write_text(f"{licence}\n", encoding="utf-8")
    return path


def _check_hashes(matcher: NetworkMatcher, files: Sequence[CheckpointFile]) -> None:
    for file in files:
        if file.sha256 and matcher.files[setting_of(type(matcher), file)].sha256 != file.sha256:
            raise CorruptObject(f"checkpoint {file.key} has changed: its SHA-256 is not that of its manifest")
