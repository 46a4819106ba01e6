"""Matchers `run:<id>`: looked up in the store of the settings, their weights brought into the cache of weights.

What is found is written into the settings, under the name of that one checkpoint, `run:<id>@<step>`: which matcher it
is, and where its weights lie. So all processes that get these settings work with the same weights and ask no store.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from gim.errors import ConfigError, CorruptObject, GimError, InvalidInput, KeyMissing, Unavailable
from gim.evaluation.checkpoint import setting_of
from gim.matchers.bridges.trained import MATCHER
from gim.matchers.network import NetworkMatcher
from gim.matchers.registry import described_class, is_trained
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest
from gim.runtime.opening import open_store
from gim.settings import Settings
from gim.training.runs import PREFIX, checkpoint_name, find_checkpoint
from gim.transfer.disk import disk_errors_named, exclusive
from gim.weights.config import WeightsConfig
from gim.weights.files import UNKNOWN, cache_folder, find_weights, is_own_file
from gim.weights.integrity import digests_of

_FOLDER = "runs"  # of the cache


def with_runs(settings: Settings) -> Settings:
    """The settings with all runs among `matchers` looked up; the same settings where there are none.

    Raises:
        As `with_run`.
    """
    for name in settings.matchers:
        settings, _ = with_run(settings, name)
    return settings


def with_run(settings: Settings, name: str) -> tuple[Settings, str]:
    """The settings with a run looked up, and the name that stands for its checkpoint; any other matcher as it is.

    A matcher's own settings hold for its runs too, but for those that name weights. What the checkpoint states is
    stronger, and what is set for the run by its name is strongest.

    Args:
        settings: name the store and the cache of weights.
        name: of a matcher.

    Raises:
        InvalidInput: there is no such run or checkpoint, it holds no weights for its matcher, or a file that it was
            trained with has changed.
        CorruptObject: weights are missing, or not those of their manifest.
        ConfigError: a file that it was trained with is not on this machine, or the store cannot be used.
        Unavailable: the store, or the cache, cannot be used for now.
    """
    if not is_trained(name) or MATCHER in settings.matcher.get(name, {}):
        return settings, name
    with closing(open_store(settings)) as store:
        manifest = find_checkpoint(store, name)
        kind = described_class(manifest.matcher)
        if not issubclass(kind, NetworkMatcher):
            raise InvalidInput(f"{name}: matcher {manifest.matcher} has no weights to load")
        files = {setting_of(kind, file): _cached(store, manifest, file, settings.weights) for file in manifest.files}
    pinned = checkpoint_name(manifest)
    plain = {key: value for key, value in settings.matcher.get(kind.name, {}).items() if key not in kind.weight_fields}
    by_name = settings.matcher.get(f"{PREFIX}{manifest.run_id}", {}) | settings.matcher.get(pinned, {})
    weights = {setting: str(path) for setting, path in files.items()}
    for setting in kind.weight_fields:
        if setting in manifest.settings.keys() - by_name.keys() - weights.keys():
            _check_beside(manifest, setting, settings.weights)
    own = {**plain, **manifest.settings, **by_name, **weights, MATCHER: kind.name}
    return _renamed(settings, name, pinned, own), pinned


def check_pinned(settings: Settings) -> None:
    """Refuse a run without its step: services that start one after the other would mean different checkpoints by it.

    Raises:
        ConfigError: the message names it, and how it is put right.
    """
    for name in settings.matchers:
        if is_trained(name) and "@" not in name:
            raise ConfigError(f"matcher {name}: a service needs one checkpoint, {name}@STEP; `gim ls runs` lists them")


def _renamed(settings: Settings, name: str, pinned: str, own: Mapping[str, Any]) -> Settings:
    changed = dataclasses.replace(
        settings,
        matchers=tuple(pinned if item == name else item for item in settings.matchers),
        required_matchers=tuple(pinned if item == name else item for item in settings.required_matchers),
        matcher={**settings.matcher, pinned: dict(own)},
    )
    changed.check()  # two names may have stood for one checkpoint
    return changed


def _check_beside(manifest: CheckpointManifest, setting: str, config: WeightsConfig) -> None:
    """Hold a file that was no product of the run to what the run was trained with; the catalogue sees to its own."""
    value = str(manifest.settings[setting])
    if not is_own_file(value):
        return
    run = f"{PREFIX}{manifest.run_id}"
    elsewhere = f"say where on this machine by --set matcher.{run}.{setting}=FILE"
    try:
        file = find_weights(value, dataclasses.replace(config, licences="any"))
    except Unavailable as error:
        raise ConfigError(f"{run} needs the file that it was trained with, {value}: {elsewhere}") from error
    trained_with = {item.sha256 for item in manifest.weights if item.name == file.name}
    if trained_with and file.sha256 not in trained_with:
        raise InvalidInput(f"{run}: {value} is not the file that it was trained with, by its SHA-256: {elsewhere}")


def _cached(store: Store, manifest: CheckpointManifest, file: CheckpointFile, config: WeightsConfig) -> Path:
    """A file of weights on this machine: the very bytes of the manifest, with their licence beside them."""
    part = f"-{file.setting}" if len(manifest.files) > 1 else ""
    name = f"{manifest.run_id}-{manifest.step:08d}{part}{Path(file.key).suffix}"
    path = cache_folder(config) / _FOLDER / file.sha256[:16] / name
    if not _is_whole(path, file, config):
        with exclusive(path):
            if not _is_whole(path, file, config):
                _bring(store, file, path)
    _state_licence(path, manifest.licence or UNKNOWN)
    return path


def _is_whole(path: Path, file: CheckpointFile, config: WeightsConfig) -> bool:
    """Whether the file lies here, read only if it is not known or was touched."""
    if not path.is_file():
        return False
    try:
        return find_weights(str(path), dataclasses.replace(config, licences="any")).sha256 == file.sha256
    except GimError:
        return False


def _bring(store: Store, file: CheckpointFile, path: Path) -> None:
    partial = path.with_name(f"{path.name}.part")
    try:
        with (
            store.fetch(file.key) as source,
            disk_errors_named(partial, "free some, or set weights.cache to another disk"),
        ):
            shutil.copyfile(source, partial)
        if digests_of(partial).sha256 != file.sha256:
            raise CorruptObject(f"checkpoint {file.key} has changed: its SHA-256 is not that of its manifest")
        with disk_errors_named(path):
            partial.replace(path)
    except KeyMissing as error:
        raise CorruptObject(f"checkpoint {file.key}: is not in the store, though its manifest names it") from error
    finally:
        partial.unlink(missing_ok=True)


def _state_licence(path: Path, licence: str) -> None:
    """What weights owe to whom, where everything that loads them looks for it."""
    sidecar = path.with_name(f"{path.name}.licence")
    line = f"{licence}\n"
    if sidecar.is_file() and sidecar.read_text(encoding="utf-8") == line:
        return
    with exclusive(sidecar), disk_errors_named(sidecar):
        partial = sidecar.with_name(f"{sidecar.name}.part")
        partial.write_text(line, encoding="utf-8")
        partial.replace(sidecar)
