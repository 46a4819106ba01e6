"""The folders of runs: private, locked while they run, and not for ever."""

from pathlib import Path

import pytest

from gim.adapters.store_file import FileStore
from gim.errors import Unavailable
from gim.runtime.run_folder import RunFolder, new_run, remove_ended_runs, running_runs
from tests.contract.processes import program_until_ready


@pytest.fixture
def root(tmp_path: Path) -> Path:
    FileStore(tmp_path / "store").close()
    return tmp_path / "store"


def runs(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".run").iterdir())


def test_run_folder_is_no_object_of_the_store(root: Path) -> None:
    with new_run(root) as run:
        run.log.write_text("x")
        run.new_journal().write_text("y")
        store = FileStore(root)
        assert list(store.list()) == []
        store.close()


def test_old_runs_are_removed_and_running_ones_are_not(root: Path) -> None:
    with new_run(root) as running:
        ids = []
        for _ in range(6):
            with new_run(root) as run:
                ids.append(run.run_id)
        assert len(runs(root)) == 5  # this one, the newest, and three that ended
        assert running.run_id in runs(root)
        assert len(remove_ended_runs(root)) == 4
        assert runs(root) == [running.run_id]
    assert remove_ended_runs(root) == [running.run_id]


def test_run_of_a_killed_process_has_ended(root: Path) -> None:
    program = f"""
from pathlib import Path
from gim.runtime.run_folder import new_run
with new_run(Path({str(root)!r})) as run:
    print(run.run_id, flush=True)
    input()
"""
    with program_until_ready(program):
        assert remove_ended_runs(root) == []
    assert len(remove_ended_runs(root)) == 1


def test_store_without_runs_has_none_to_remove(root: Path) -> None:
    assert remove_ended_runs(root) == []


def test_no_room_for_a_run_is_unavailable(root: Path) -> None:
    (root / ".run").write_text("in the way")
    with pytest.raises(Unavailable, match="run"), new_run(root):
        pass


def test_later_runs_sort_later() -> None:
    assert RunFolder(Path("s/.run/20250101T000000-aa")).run_id < RunFolder(Path("s/.run/20250101T000001-00")).run_id


def test_a_store_that_cannot_be_written_is_named_with_the_way_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Unavailable, match=rf"store {root}: permission denied: choose another --store"), new_run(root):
        pass


def test_a_run_that_ended_is_known_to_whoever_may_only_read(root: Path) -> None:
    with new_run(root):
        pass
    (lock,) = root.glob(".run/*/lock")
    lock.chmod(0o444)
    assert running_runs(root) == []
    with new_run(root) as run:
        assert running_runs(root) == [run.run_id]
