"""Runs in bfloat16, and compiled ones: they train as those in float32 do, and what they store is the same."""

import os
import subprocess
import sys

import pytest
import torch

from gim.adapters.store_file import FileStore
from gim.training.checkpoints.reading import load
from gim.weights.checkpoint import read_checkpoint
from tests.unit.training import run_small
from tests.unit.training.run_small import NUM_STEPS, Pixels, changed, small_dataset, train_small

_PROGRAM = """
import sys
from gim.adapters.store_file import FileStore
from gim.errors import ConfigError
from tests.unit.training.run_small import changed, small_dataset, train_small

store = FileStore(sys.argv[1])
try:
    train_small(store, small_dataset(store), changed(loop={"compile": True}))
except ConfigError as error:
    print(error)
"""
# Compiling takes half a minute, for each kind of truth.
_NUM_COMPILED = 4
_COMPILED = changed(mix={"homography": 0.0}, sample={"augment": "none"}, schedule={"pairs": 4 * _NUM_COMPILED})


class Still(Pixels):
    """Without drop-out: compiled networks draw other numbers."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.trunk[3] = torch.nn.Identity()


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def floats_in(state):
    """Kinds of floating-point numbers in a nested state."""
    if isinstance(state, torch.Tensor):
        return {state.dtype} if state.is_floating_point() else set()
    values = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return {kind for value in values for kind in floats_in(value)}


def test_bfloat16_has_nearly_the_losses_and_weights_and_stores_float32(store):
    dataset = small_dataset(store)
    _, exact = train_small(store, dataset, changed(loop={"ema": 0.9}), run_id="float32")
    _, rough = train_small(store, dataset, changed(loop={"ema": 0.9, "precision": "bfloat16"}), run_id="bfloat16")
    assert rough.losses != exact.losses
    assert rough.losses == pytest.approx(exact.losses, rel=2**-7)  # a bfloat16 has 8 bits
    loaded, other = (load(store, run_id, NUM_STEPS) for run_id in ("bfloat16", "float32"))
    assert floats_in(loaded.state) == {torch.float32}  # weights, moments of the optimiser, averages
    for name, value in loaded.state["model"].items():
        assert torch.allclose(value, other.state["model"][name], atol=0.01), name  # each of the 8 steps can move 0.01
    (file,) = loaded.manifest.files
    with store.fetch(file.key) as path:
        assert floats_in(read_checkpoint(path)) == {torch.float32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_run_has_the_losses_of_one_that_is_not_and_can_be_gone_on_with(store, monkeypatch):
    monkeypatch.setattr(run_small, "Pixels", Still)
    dataset = small_dataset(store)
    _, plain = train_small(store, dataset, _COMPILED, run_id="plain")
    config = changed(_COMPILED, loop={"compile": True})
    _, first = train_small(store, dataset, config, run_id="compiled", until=2)
    result, second = train_small(store, dataset, config, run_id="compiled", is_resumed=True)
    assert (result.ended, list(first.losses), list(second.losses)) == ("finished", [1, 2], [3, 4])
    assert first.losses | second.losses == pytest.approx(plain.losses, rel=1e-5)
    state, other = (load(store, run_id, _NUM_COMPILED).state["model"] for run_id in ("compiled", "plain"))
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.allclose(value, other[name], atol=1e-4), name


@pytest.mark.slow
def test_without_a_compiler_a_run_ends_with_one_line(tmp_path):
    nowhere = {**os.environ, "PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    nowhere.pop("CXX", None)
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "store")]
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=300, check=True)
    (said,) = done.stdout.splitlines()
    assert said.startswith("train.loop.compile: torch cannot compile the network (InvalidCxxCompiler: ")
    assert said.endswith("or train with train.loop.compile=false")
