"""Checkpoints on a disk that is really full, and then is not."""

import sys

import pytest

from tests.small_disk import run_on_small_disk

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
import torch
from gim.adapters.store_file import FileStore
from gim.errors import GimError
from gim.training.checkpoints.reading import resume
from gim.training.checkpoints.saver import CheckpointSaver, Saved
from tests.unit.training.checkpoints.toy import TEMPLATE

folder = Path(sys.argv[1])
store = FileStore(folder / "store")
saver = CheckpointSaver(store, TEMPLATE, keep_last=1)


def save(step):
    saver.save(step, {"weights": torch.full((200_000,), float(step))})
    outcome = saver.wait()
    whole = resume(store, TEMPLATE.run_id)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "filler"]
    size = sum(path.stat().st_size for path in files) // 100_000
    print(type(outcome).__name__, whole.step, float(whole.state["weights"][0]), size, getattr(outcome, "reason", ""))


save(1)
save(2)  # both are there for a moment
(folder / "filler").write_bytes(b"x" * 1_200_000)
save(3)
save(4)
(folder / "filler").unlink()
save(5)
(folder / "filler").write_bytes(b"x" * 1_200_000)
save(6)
try:
    saver.close()
except GimError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_leaves_the_last_good_one_and_training_goes_on(tmp_path):
    done = run_on_small_disk(tmp_path, "2m", f'{sys.executable} -W error -c "$1" {tmp_path}', PROGRAM)
    assert done.returncode == 3, done.stderr
    *lines, last = done.stdout.splitlines()
    full = "the disk is full: free some space, then run the same command again"
    assert [line.split(" ", 4)[:4] for line in lines] == [
        ["Saved", "1", "1.0", "8"],
        ["Saved", "2", "2.0", "8"],
        ["NotSaved", "2", "2.0", "8"],
        ["NotSaved", "2", "2.0", "8"],
        ["Saved", "5", "5.0", "8"],
        ["NotSaved", "5", "5.0", "8"],
    ]
    assert all(line.endswith(full) for line in lines if line.startswith("NotSaved"))
    assert last.startswith("run run-1: checkpoint 6 is not stored, the last good one is of step 5 (")
    assert done.stderr == ""
