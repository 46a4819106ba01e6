"""The weights that a run begins with."""

import hashlib

import pytest
import torch

from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, CorruptObject, InvalidInput
from gim.matchers.network import ModelResources
from gim.training.checkpoints.state import flatten_state
from gim.training.checkpoints.writing import Weights, write_checkpoint
from gim.training.starting import Start, start_weights
from gim.weights.config import WeightsConfig
from tests.unit.training.checkpoints.toy import TEMPLATE, same

STATE = {"layer.weight": torch.arange(3.0)}


@pytest.fixture
def resources(tmp_path):
    return ModelResources(weights=WeightsConfig(cache=str(tmp_path / "cache"), offline=True))


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def test_nothing_is_named_nothing_is_begun_with(store, resources):
    assert start_weights(store, "", resources) == Start()


def test_a_file(store, resources, tmp_path):
    path = tmp_path / "own.pth"
    torch.save(STATE, path)
    start = start_weights(store, str(path), resources)
    assert (start.name, start.sha256) == ("own.pth", hashlib.sha256(path.read_bytes()).hexdigest())
    assert same(start.state, STATE)


def test_a_run(store, resources):
    for step in (4, 8):
        weights = Weights("toy.ckpt", {"layer.weight": torch.full((2,), float(step))})
        manifest = write_checkpoint(store, TEMPLATE, step, state=flatten_state({"step": step}), weights=[weights])
    newest = start_weights(store, "run:run-1", resources)
    assert (newest.sha256, newest.licence) == (manifest.files[0].sha256, "Apache-2.0")
    assert newest.state["layer.weight"].tolist() == [8.0, 8.0]
    assert start_weights(store, "run:run-1@4", resources).state["layer.weight"].tolist() == [4.0, 4.0]
    with pytest.raises(InvalidInput, match=r"train.start = run:run-1@5: .*no checkpoint of step 5"):
        start_weights(store, "run:run-1@5", resources)
    store.put(manifest.files[0].key, b"cut off")
    with pytest.raises(CorruptObject, match=manifest.files[0].key):
        start_weights(store, "run:run-1", resources)


@pytest.mark.parametrize("start", ["run:", "run:none", "run:none@4", "run:none@last", "run:a/b"])
def test_no_such_run(store, resources, start):
    with pytest.raises(InvalidInput, match=f"train.start = {start}"):
        start_weights(store, start, resources)


def test_no_such_weights(store, resources):
    with pytest.raises(ConfigError, match="gim_lightgleu"):
        start_weights(store, "gim_lightgleu", resources)
