"""A whole run on a disk that fills up: the last good checkpoint stays, and the run goes on from it."""

import sys

import pytest

from tests.small_disk import run_on_small_disk

pytestmark = pytest.mark.slow

PROGRAM = """
import sys, time
from pathlib import Path
from gim.adapters.store_file import FileStore
from gim.errors import GimError
from gim.training.checkpoints.listing import stored_steps
from tests.unit.training.run_small import small_dataset, train_small

folder = Path(sys.argv[1])
store = FileStore(folder / "store")
dataset = small_dataset(store)
filler = folder / "filler"


def fill(step):
    print("saved", step)
    if step == 3:
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 512):
                    pass
            except OSError:
                pass


try:
    # Slow enough that the first checkpoint is stored before the next is due.
    train_small(store, dataset, run_id="mine", on_saved=fill, say=print, is_told_to_stop=lambda: bool(time.sleep(0.3)))
except GimError as error:
    print(type(error).__name__, error)
print("steps", stored_steps(store, "mine"))
filler.unlink()
result, heard = train_small(store, dataset, run_id="mine", is_resumed=True)
print(result.ended, sorted(heard.losses), stored_steps(store, "mine"))
"""


def test_a_full_disk_leaves_the_last_good_checkpoint_and_the_run_goes_on_from_it(tmp_path):
    done = run_on_small_disk(tmp_path, "2m", f'{sys.executable} -W error -c "$1" {tmp_path}', PROGRAM)
    assert done.stderr == ""
    assert done.returncode == 0
    *told, last, steps, again = done.stdout.splitlines()
    full = "the disk is full: free some space, then run the same command again"
    assert told[0] == "saved 3"
    assert [line for line in told if "is not stored, training goes on" in line and line.endswith(full)]
    assert last.startswith("Unavailable run mine: checkpoint 8 is not stored, the last good one is of step 3 (")
    assert steps == "steps [3]"
    assert again == "finished [4, 5, 6, 7, 8] [3, 6, 8]"
