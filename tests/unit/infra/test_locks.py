"""Locks between processes."""

import subprocess
import sys

from infra.locks import locked, locked_if_free
from infra.state import ROOT

_HOLD = "import sys; from infra.locks import locked\nfrom pathlib import Path\nwith locked(Path(sys.argv[1])): print(1, flush=True); sys.stdin.read()"  # noqa: E501


def test_a_lock_held_by_another_process_is_waited_for_and_let_go_of_at_its_death(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        with locked_if_free(path) as is_free:
            assert not is_free
        waited = []

        def kill() -> None:
            waited.append(True)
            holder.kill()

        with locked(path, on_wait=kill):
            assert waited == [True]


def test_a_shared_lock_is_shared_and_keeps_out_who_wants_it_alone(tmp_path):
    path = tmp_path / "lock"
    with locked(path, shared=True), locked(path, shared=True), locked_if_free(path) as is_free:
        assert not is_free
    with locked_if_free(path) as is_free:
        assert is_free
