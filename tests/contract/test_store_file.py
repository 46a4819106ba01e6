"""The file store: the Store contract, and what only a folder on a disk can go wrong with."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gim.adapters.store_file import MARKER, FileStore
from gim.errors import ConfigError, InvalidInput, KeyMissing, Unavailable
from tests.contract.processes import program_until_ready, run_program
from tests.contract.store_contract import OpenStore, StoreContract, store_machine
from tests.small_disk import run_on_small_disk

TestFileStoreMachine = store_machine(FileStore).TestCase


class TestFileStoreContract(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[OpenStore]:
        opened: list[FileStore] = []

        def open_one() -> FileStore:
            opened.append(FileStore(tmp_path / "store"))
            return opened[-1]

        yield open_one
        for store in opened:
            store.close()

    @pytest.fixture
    def store_program(self, tmp_path: Path) -> str:
        return program_of(tmp_path / "store")


def program_of(root: Path) -> str:
    return f"""
from pathlib import Path
from gim.adapters.store_file import FileStore
store = FileStore(Path({str(root)!r}))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[FileStore]:
    store = FileStore(root)
    yield store
    store.close()


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_key_is_the_path_below_the_root_and_fetch_yields_it(store: FileStore, root: Path) -> None:
    store.put("a/b.jpg", b"x")
    assert everything(root) == {MARKER: b'{"format": 1}\n', "a/b.jpg": b"x"}
    with store.fetch("a/b.jpg") as path:
        assert path == root / "a" / "b.jpg"


def test_open_when_the_folder_is_empty_makes_a_store(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    FileStore(tmp_path).close()
    FileStore(tmp_path, create=False).close()


def test_open_when_the_folder_is_full_of_other_things_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        FileStore(tmp_path)
    assert everything(tmp_path) == {"thesis.tex": b"words"}


def test_open_when_absent_and_not_to_be_made_makes_nothing(root: Path) -> None:
    with pytest.raises(ConfigError, match="no store here"):
        FileStore(root, create=False)
    assert not root.exists()


def test_open_when_it_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    with pytest.raises(ConfigError, match="a file, not a folder"):
        FileStore(tmp_path / "clip.mp4")
    with pytest.raises(ConfigError, match="a file, not a folder"):
        FileStore(tmp_path / "clip.mp4" / "store")


@pytest.mark.parametrize(("marker", "words"), [('{"format": 2}', "format 2"), ("", "damaged"), ("[]", "damaged")])
def test_open_when_the_store_is_of_another_version_refuses(root: Path, marker: str, words: str) -> None:
    FileStore(root).close()
    (root / MARKER).write_text(marker)
    with pytest.raises(ConfigError, match=words):
        FileStore(root)


def test_open_by_many_processes_at_once_makes_one_store(root: Path) -> None:
    program = program_of(root) + "store.put('k', b'1', if_absent=True)\nstore.close()"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(5)]
    assert [process.wait(60) for process in processes] == [0] * 5
    assert set(everything(root)) == {MARKER, "k"}


def test_marker_is_no_object(store: FileStore) -> None:
    assert list(store.list()) == []
    for call in (store.get, store.delete, store.exists):
        with pytest.raises(InvalidInput, match="reserved"):
            call(MARKER)


def test_list_leaves_out_what_is_no_key(store: FileStore, root: Path) -> None:
    store.put("a/b", b"")
    (root / "a" / ".DS_Store").write_bytes(b"")
    (root / "a" / "my holiday.txt").write_bytes(b"")
    (root / ".run" / "1").mkdir(parents=True)
    (root / ".run" / "1" / "log").write_bytes(b"")
    assert list(store.list()) == ["a/b"]


def test_delete_prunes_the_folders_it_empties(store: FileStore, root: Path) -> None:
    store.put("a/b/c/d", b"")
    store.put("a/e", b"")
    store.delete("a/b/c/d")
    assert [path.name for path in (root / "a").iterdir()] == ["e"]
    store.delete("a/e")
    assert not (root / "a").exists()
    assert root.is_dir()


def test_object_and_folder_of_the_same_name_are_refused(store: FileStore) -> None:
    store.put("a/b", b"")
    for key in ("a", "a/b/c"):
        with pytest.raises(InvalidInput, match="same name"):
            store.put(key, b"")
    with pytest.raises(InvalidInput, match="same name"):
        store.put("a", b"", if_absent=True)
    with pytest.raises(InvalidInput, match="longer than a file name"):
        store.put("n" * 300, b"")
    assert list(store.list()) == ["a/b"]


def test_put_while_others_prune_the_folder_never_fails(root: Path) -> None:
    churn = program_of(root) + "for i in range(60):\n    store.put('d/e/KEY', b'x')\n    store.delete('d/e/KEY')\n"
    processes = [subprocess.Popen([sys.executable, "-c", churn.replace("KEY", name)]) for name in "xyz"]
    assert [process.wait(60) for process in processes] == [0] * 3


WRITE_FOR_EVER = """
import itertools
store.put('big', b'0' * 3_000_000)
print('ready', flush=True)
for i in itertools.cycle(range(10)):
    store.put('big', str(i).encode() * 3_000_000)
"""


def test_kill_while_writing_leaves_a_whole_object_and_the_rest_is_swept(root: Path) -> None:
    for _ in range(5):
        with program_until_ready(program_of(root) + WRITE_FOR_EVER):
            pass
        data = (root / "big").read_bytes()
        assert len(data) == 3_000_000
        assert len(set(data)) == 1
    assert list((root / ".tmp").iterdir())
    FileStore(root).close()
    assert list((root / ".tmp").iterdir()) == []


def test_sweep_leaves_the_living_alone(root: Path) -> None:
    program = program_of(root) + "with store._staged() as path:\n    path.touch(); print('ready', flush=True); input()"
    with program_until_ready(program):
        FileStore(root).close()
        assert len([path for path in (root / ".tmp").rglob("*") if path.is_file()]) == 1


def test_store_whose_folder_vanished_is_unavailable(store: FileStore, root: Path) -> None:
    store.put("a", b"")
    shutil.rmtree(root)
    with pytest.raises(Unavailable, match="store"):
        store.put("b/c", b"")
    with pytest.raises(Unavailable, match="gone"):
        store.get("a")
    assert not root.exists()


# What a program prints that meets the error at the end of its source, in a file system of its own.
CATCH = """
from gim.errors import GimError
try:
    {call}
except GimError as error:
    print(type(error).__name__, '|', error)
print(sorted(store.list()), store.get('small') == b'x' * 1000)
print([str(path) for path in (store.root / '.tmp').rglob('*') if path.is_file()])
"""


def run_on_small_store(folder: Path, after_setup: str, program: str) -> list[str]:
    """What a program prints on a store with an object `small`, in a file system of 2 MB at `folder`."""
    setup = program_of(folder / "store") + "store.put('small', b'x' * 1000)\nstore.close()"
    python = f"{sys.executable} -c"
    script = f'{python} "$1" && {after_setup} && {python} "$2"'
    done = run_on_small_disk(folder, "2m", script, setup, program_of(folder / "store") + program)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


BIG_PUTS = [
    "store.put('big', b'y' * 4_000_000)",
    "store.put('small', b'y' * 4_000_000)",
    "import tempfile; f = tempfile.NamedTemporaryFile(dir='/dev/shm'); f.truncate(4_000_000); "
    "store.put_file('big', Path(f.name))",
]


@pytest.mark.parametrize("call", BIG_PUTS)
def test_full_disk_is_unavailable_in_one_line_and_leaves_nothing(tmp_path: Path, call: str) -> None:
    caught, listed, leftovers = run_on_small_store(tmp_path, "true", CATCH.format(call=call))
    assert caught.startswith("DiskFull | ")
    assert "disk is full: free some space" in caught
    assert listed == "['small'] True"
    assert leftovers == "[]"


def test_read_only_store_can_be_read(tmp_path: Path) -> None:
    remount = f"mount -o remount,ro {tmp_path}"
    caught, listed, _ = run_on_small_store(tmp_path, remount, CATCH.format(call="store.put('big', b'')"))
    assert caught.startswith("Unavailable | ")
    assert "read-only" in caught
    assert listed == "['small'] True"


def test_put_beyond_the_file_size_limit_leaves_nothing(root: Path) -> None:
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    program = program_of(root) + "store.put('small', b'x' * 1000)\n" + limit
    printed = run_program(program + CATCH.format(call="store.put('big', b'y' * 4_000_000)"))
    assert printed.splitlines()[0].startswith("Unavailable | ")
    assert printed.splitlines()[1:] == ["['small'] True", "[]"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_forbidden_folder_is_unavailable(store: FileStore, root: Path) -> None:
    store.put("a/b", b"")
    (root / "a").chmod(0o500)
    try:
        with pytest.raises(Unavailable, match="permission denied"):
            store.put("a/c", b"")
    finally:
        (root / "a").chmod(0o700)


def test_format_number_is_what_the_marker_says(root: Path) -> None:
    FileStore(root).close()
    assert json.loads((root / MARKER).read_text()) == {"format": 1}


def test_list_is_lazy_in_folders(store: FileStore, root: Path) -> None:
    for index in range(5):
        store.put(f"{index}/k", b"")
    listing = store.list()
    assert next(listing) == "0/k"
    shutil.rmtree(root / "3")
    assert list(listing) == ["1/k", "2/k", "4/k"]
    with pytest.raises(KeyMissing):
        store.get("3/k")
