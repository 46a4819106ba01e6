"""An HDF5 file of groups that grows over hours and survives being killed at any moment.

Groups are written in parts, files of their own beside it, each under another name until it is whole. `merge` makes one
file of what there is. So nothing that can be opened is ever half written, and what is there need not be made again.
One process writes at a time: see `gim.localisation.workplace.alone_in`.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from gim.errors import DiskFull, InvalidInput, is_disk_full
from gim.localisation.hloc_files import Datasets


class GrowingFile:
    """The groups of one HDF5 file, and those of its parts."""

    def __init__(self, path: Path) -> None:
        """Look at what is there.

        Raises:
            InvalidInput: the file or a part is damaged.
        """
        self.path = path
        self._parts = path.with_name(f"{path.name}.parts")
        self._known: set[str] = set()
        for file in [path, *self._part_files()]:
            if file.exists():
                with open_groups(file) as groups:
                    self._known |= set(_group_names(groups))

    def __contains__(self, group: str) -> bool:
        return group in self._known

    def write(self, groups: Mapping[str, Datasets]) -> None:
        """Add groups, all of them or none."""
        if not groups:
            return
        self._parts.mkdir(parents=True, exist_ok=True)
        numbers = [int(file.stem) for file in self._part_files()]
        with _replacing(self._parts / f"{max(numbers, default=-1) + 1:06d}.h5") as file:
            for name, datasets in groups.items():
                write_group(file, name, datasets)
        self._known |= set(groups)

    def merge(self) -> Path:
        """One file with all groups; the parts are gone."""
        parts = self._part_files()
        if parts or not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _replacing(self.path, copied_from=self.path) as file:
                for part in parts:
                    with open_groups(part) as groups:
                        _copy_missing(groups, file)
        shutil.rmtree(self._parts, ignore_errors=True)
        return self.path

    def _part_files(self) -> list[Path]:
        return sorted(self._parts.glob("[0-9]*.h5")) if self._parts.is_dir() else []


@contextmanager
def open_groups(path: Path) -> Iterator[Any]:
    """A file, open for reading.

    Raises:
        InvalidInput: it cannot be opened as HDF5.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InvalidInput(f"{path}: not a readable HDF5 file; remove it, and it is made again") from error
    with file:
        yield file


@contextmanager
def new_file(path: Path) -> Iterator[Any]:
    """A file, open for writing, that has its name once the block is left without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as file:
        yield file


def write_group(file: Any, name: str, datasets: Datasets) -> None:
    """Add one group; the same content gives the same bytes."""
    group = file.create_group(name)
    for key, data in datasets.items():
        group.create_dataset(key, data=data, track_times=False)


@contextmanager
def _replacing(path: Path, copied_from: Path | None = None) -> Iterator[Any]:
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.unlink(missing_ok=True)
    try:
        if copied_from is not None and copied_from.exists():
            shutil.copyfile(copied_from, unfinished)
        with h5py.File(unfinished, "a") as file:
            yield file
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if not is_disk_full(error):
            raise
        raise DiskFull(f"{path}: no room is left on its disk; the same command goes on once there is") from error
    unfinished.replace(path)


def _copy_missing(source: Any, target: Any) -> None:
    """A kill between the last rename and the removal of the parts leaves groups that are in both."""
    for name in _group_names(source):
        if name not in target:
            source.copy(source[name], target, name=name)


def _group_names(file: Any) -> Iterator[str]:
    """Groups that hold datasets."""
    for name, item in file.items():
        if any(isinstance(child, h5py.Dataset) for child in item.values()):
            yield name
        else:
            yield from (f"{name}/{inner}" for inner in _group_names(item))
