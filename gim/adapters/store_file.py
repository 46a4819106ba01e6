"""The Store as a folder: a key is a path below the root. Safe between processes and threads of one machine.

An object is written to a private folder below `.tmp`, synced, and moved into place, so it is there whole or not at
all, also after a power cut. Names that begin with a dot are never keys: `.tmp` belongs to this file, the rest of them
to the runtime. What the objects mean is not known here.
"""

import errno
import fcntl
import itertools
import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gim.errors import ConfigError, DiskFull, GimError, InvalidInput, KeyMissing, Unavailable, is_disk_full
from gim.keys import is_key, validate_key, validate_prefix

FORMAT = 1  # of the layout on disk; another number is refused
MARKER = "gim-store.json"
_MARKER_STEM = ".gim-store."  # of a marker not yet in place
_TEMPORARY = ".tmp"
_HARMLESS = {"lost+found", ".DS_Store"}  # in a folder that is otherwise empty
_COPY_BYTES = 64 * 2**20
_PRUNE_RACES = 100  # how often a folder may vanish between making it and using it

_WAY_OUT = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EROFS: "the file system is read-only: choose another store, or mount it writable",
    errno.EACCES: "permission denied: choose another store, or allow this user to use it",
    errno.EPERM: "not permitted: choose another store, or allow this user to use it",
}
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class FileStore:
    """The Store port over one folder."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """Open the store at `root`, or make one where there is no folder or an empty one.

        Args:
            root: folder of the store.
            create: whether a store that is not there is made.

        Raises:
            ConfigError: `root` is something else, or a store of another format, or absent and not to be made.
            Unavailable: the disk is full, read-only or forbidden.
        """
        self.root = Path(root).absolute()
        self._guard = threading.Lock()
        self._names = itertools.count()
        self._staging: Path | None = None
        self._staging_lock = -1
        with _disk_errors(self.root):
            _open_root(self.root, create)
        with suppress(OSError):  # a read-only store can be read; what is left over does no harm
            _sweep(self.root / _TEMPORARY)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object; with `if_absent`, only when there is none, and the first of several writers wins.

        Raises:
            InvalidInput: the key is malformed, reserved, or a folder of other keys (or lies below an object).
            Unavailable: the disk cannot take it; nothing is left behind.
        """
        target = self._path(key)
        with _disk_errors(target):
            if if_absent and target.is_file():
                return False
            with self._staged() as staged:
                with staged.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                return self._move_in(staged, target, if_absent=if_absent)

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a local file, sharing its blocks where the file system can.

        Raises:
            InvalidInput: as `put`, or `path` is not a readable file.
            Unavailable: the disk cannot take it; nothing is left behind.
        """
        target = self._path(key)
        try:
            source = path.open("rb")
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from error
        with source, _disk_errors(target), self._staged() as staged:
            with staged.open("xb") as file:
                _copy(source.fileno(), file.fileno())
                os.fsync(file.fileno())
            self._move_in(staged, target, if_absent=False)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _disk_errors(path), self._missing(key):
            return path.read_bytes()

    @contextmanager
    def fetch(self, key: str) -> Iterator[Path]:
        """The object's own path: read it, never write to it."""
        self.size(key)
        yield self._path(key)

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with _disk_errors(path):
            return path.is_file()

    def size(self, key: str) -> int:
        path = self._path(key)
        with _disk_errors(path), self._missing(key):
            if path.is_dir():
                raise IsADirectoryError
            return path.stat().st_size

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with `prefix`, ascending; one folder's names are held at a time."""
        folder, slash, stem = validate_prefix(prefix).rpartition("/")
        return self._walk(self.root / folder, folder + slash, stem)

    def usage(self, prefix: str = "") -> int:
        """Bytes of all objects whose keys begin with `prefix`; one that is deleted meanwhile does not count."""
        total = 0
        for key in self.list(prefix):
            with suppress(KeyMissing):
                total += self.size(key)
        return total

    def delete(self, key: str) -> None:
        """Remove an object and the folders that it leaves empty; a missing one is no error."""
        path = self._path(key)
        with _disk_errors(path):
            with suppress(*_ABSENT):
                path.unlink()
            for folder in itertools.takewhile(lambda parent: parent != self.root, path.parents):
                try:
                    folder.rmdir()
                except OSError:  # not empty, or another process pruned it
                    return

    def close(self) -> None:
        """Remove the temporary folder; the store is not used afterwards."""
        with self._guard:
            if self._staging is not None:
                shutil.rmtree(self._staging, ignore_errors=True)
                os.close(self._staging_lock)
                self._staging, self._staging_lock = None, -1

    def _path(self, key: str) -> Path:
        if validate_key(key).split("/", 1)[0] == MARKER:
            raise InvalidInput(f"invalid store key {key!r}: {MARKER} is reserved")
        return self.root / key

    @contextmanager
    def _missing(self, key: str) -> Iterator[None]:
        try:
            yield
        except _ABSENT as error:
            if not self.root.is_dir():
                raise Unavailable(f"{self.root}: the store's folder is gone") from error
            raise KeyMissing(f"{key}: not in the store {self.root}") from error

    def _walk(self, folder: Path, prefix: str, stem: str) -> Iterator[str]:
        with _disk_errors(folder):
            try:
                with os.scandir(folder) as entries:
                    # A folder sorts as its keys do: by its name and a slash.
                    names = [entry.name + "/" * entry.is_dir() for entry in entries if entry.name.startswith(stem)]
            except _ABSENT:  # nothing has this prefix, or another process pruned it
                return
        for name in sorted(names):
            if name == MARKER or not is_key(name.rstrip("/")):
                continue
            if name.endswith("/"):
                yield from self._walk(folder / name, prefix + name, "")
            else:
                yield prefix + name

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A path for one object in the making; what is still there at the end is removed."""
        path = self._staging_folder() / str(next(self._names))
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _staging_folder(self) -> Path:
        """This handle's own folder below `.tmp`, locked for as long as it lives, so that others can tell."""
        with self._guard:
            if self._staging is None:
                shelf = self.root / _TEMPORARY
                shelf.mkdir(exist_ok=True)
                with _locked(shelf):  # no sweep between making the folder and locking it
                    folder = shelf / uuid.uuid4().hex
                    folder.mkdir()
                    self._staging_lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                    fcntl.flock(self._staging_lock, fcntl.LOCK_EX)
                self._staging = folder
            return self._staging

    def _move_in(self, staged: Path, target: Path, *, if_absent: bool) -> bool:
        for _ in range(_PRUNE_RACES):
            self._make_folder(target.parent)
            try:
                if if_absent:
                    target.hardlink_to(staged)
                else:
                    staged.replace(target)
            except FileNotFoundError:  # another process deleted the last object beside it
                continue
            except FileExistsError:
                if target.is_file():
                    return False
                raise
            _sync(target.parent)
            return True
        raise Unavailable(f"{target.parent}: other processes keep deleting this folder")

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == self.root:  # e.g. unmounted: writing below its mount point would hide the objects later
            raise Unavailable(f"{self.root}: the store's folder is gone")
        self._make_folder(folder.parent)
        with suppress(FileExistsError, FileNotFoundError):
            folder.mkdir()
            _sync(folder.parent)


def _open_root(root: Path, create: bool) -> None:
    for folder in (root, *root.parents):
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: a file, not a folder; give a folder for the store")
    marker = root / MARKER
    if not marker.exists():
        if not create:
            raise ConfigError(f"{root}: no store here (no {MARKER})")
        _make_root(root)
    _check_marker(marker)


def _make_root(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in root.iterdir()]
    found = [name for name in names if name not in _HARMLESS and not name.startswith(_MARKER_STEM)]
    if found and MARKER not in found:
        raise ConfigError(
            f"{root}: not a store and not empty (has {min(found)!r}); give a new folder, or the folder of a store"
        )
    staged = root / f"{_MARKER_STEM}{uuid.uuid4().hex}"
    try:
        with staged.open("x", encoding="utf-8") as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process made the same store at the same moment
            (root / MARKER).hardlink_to(staged)
    finally:
        staged.unlink(missing_ok=True)
    _sync(root)


def _check_marker(marker: Path) -> None:
    try:
        document = json.loads(marker.read_bytes())
        found = document["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{marker}: damaged; expected a document like {{'format': {FORMAT}}}") from error
    if found != FORMAT:
        raise ConfigError(
            f"{marker.parent}: a store of format {found}, this version reads format {FORMAT}; "
            "give another folder, or use the version that wrote it"
        )


def _sweep(shelf: Path) -> None:
    """Remove the temporary folders whose process died: nobody holds their lock."""
    if not shelf.is_dir():
        return
    with _locked(shelf):
        for folder in shelf.iterdir():
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source: int, target: int) -> None:
    """Copy a whole file by the kernel, as shared blocks on file systems that have them."""
    try:
        while os.copy_file_range(source, target, _COPY_BYTES):
            pass
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
        with open(source, "rb", closefd=False) as reader, open(target, "wb", closefd=False) as writer:
            shutil.copyfileobj(reader, writer, 2**20)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says into one line of ours."""
    try:
        yield
    except OSError as error:
        raise _translated(error, path) from error


def _translated(error: OSError, path: Path) -> GimError:
    match error.errno:
        case errno.ENAMETOOLONG:
            return InvalidInput(f"{path.name[:80]}...: longer than a file name may be")
        case errno.EISDIR | errno.ENOTDIR | errno.EEXIST | errno.ENOTEMPTY:
            return InvalidInput(f"{path}: an object and a folder of other objects cannot have the same name")
        case errno.EXDEV:
            return ConfigError(f"{path}: on another file system than the store's root; a store lives on one")
    kind = DiskFull if is_disk_full(error) else Unavailable
    return kind(f"{path}: {_WAY_OUT.get(error.errno or 0, error.strerror or str(error))}")
