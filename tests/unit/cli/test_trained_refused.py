"""A run that cannot be a matcher is one line and exit code 2 of every command, before anything is matched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from tests.synthetic import write_wall
from tests.trained_run import MATCHER, NUM_STEPS, RUN_ID, begin, plant_checkpoint
from tests.zeb_folder import write_zeb

UNFINISHED = "tiny-11111111"
WEIGHTS = keys.checkpoint_weights(RUN_ID, NUM_STEPS, f"{MATCHER}-{RUN_ID}.ckpt")
FAULTS = {
    "run:": "run:: expected run:ID or run:ID@STEP",
    "run:tiny-0a1b2c3e": f"no run 'tiny-0a1b2c3e' in this store (did you mean {RUN_ID}?)",
    f"run:{UNFINISHED}": f"run {UNFINISHED} is not finished, 20 of 40 steps are done",
    f"run:{RUN_ID}@7": f"run {RUN_ID} has no checkpoint of step 7: its last are of 40",
    f"run:{RUN_ID}@1e1": f"run:{RUN_ID}@1e1: expected run:ID or run:ID@STEP",
    f"run:{RUN_ID}": f"checkpoint {WEIGHTS} has changed: its SHA-256 is not that of its manifest",
}


def run(folder: Path) -> list[str]:
    write_wall(folder / "clip.mp4")
    return ["run", str(folder / "clip.mp4"), "--matchers"]


def homography(folder: Path) -> list[str]:
    (folder / "pairs_h.txt").write_text("0.png 1.png 1 0 0 0 1 0 0 0 1\n")
    return ["evaluate", "homography", str(folder / "pairs_h.txt"), "--matcher"]


def zeb(folder: Path) -> list[str]:
    write_zeb(folder / "zeb", ["gl3d"], num_pairs=1)
    return ["evaluate", "zeb", str(folder / "zeb"), "--out", str(folder / "out"), "--matcher"]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A finished run whose weights have changed since, and one that is not finished."""
    opened = FileStore(tmp_path / "store")
    for run_id, step in ((RUN_ID, NUM_STEPS), (UNFINISHED, NUM_STEPS // 2)):
        begin(opened, run_id)
        plant_checkpoint(opened, step, b"PK\x03\x04 weights", run_id=run_id)
    opened.put(WEIGHTS, b"PK\x03\x04 others")
    return opened


@pytest.mark.parametrize("command", [run, homography, zeb])
def test_a_run_that_is_no_matcher_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], store: FileStore, tmp_path: Path, command: Callable[[Path], list[str]]
) -> None:
    words, before = command(tmp_path), list(store.list())
    places = ["--store", str(store.root), "--set", f"weights.cache={tmp_path / 'cache'}"]
    for name, message in FAULTS.items():
        assert run_command([*words, name, *places]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"error: {message}")
    assert list(store.list()) == before
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache").rglob("*.ckpt*")) == []
