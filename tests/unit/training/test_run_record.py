"""A run's id, and what a run that was begun may not be gone on with."""

from dataclasses import replace

import pytest

from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput
from gim.training.config import TrainingConfig
from gim.training.run_record import RunRecord, begin_run, run_id_of, settings_of
from tests.unit.training.run_small import changed

CONFIG = TrainingConfig()

_SHAPE_WEIGHTS = [
    changed(CONFIG, loop={"seed": 1}),
    changed(CONFIG, loop={"batch_size": 2}),
    changed(CONFIG, optimiser={"group_lr": {"encoder": 0.1}}),
    changed(CONFIG, sample={"augment": "none"}),
    changed(CONFIG, features={"variants": 3}),
    changed(CONFIG, reader={"shuffle_pairs": 3}),
    changed(CONFIG, schedule={"pairs": 3000}),
    replace(CONFIG, model={"layers": 3}),
    replace(CONFIG, architecture="loftr"),
]
_DO_NOT = [
    changed(CONFIG, reader={"threads": 3, "prefetch_batches": 9, "verify": False}),
    changed(CONFIG, keep={"every_pairs": 3, "keep_last": 1, "benchmarks": ("a",)}),
    changed(CONFIG, features={"cache": "/elsewhere", "max_cache_gib": 1.0}),
    changed(CONFIG, loop={"compile": True, "timeout_seconds": 1.0}),
    replace(CONFIG, source="elsewhere"),
]


def test_the_id_is_made_of_what_shapes_the_weights():
    ids = [run_id_of(config, "films-1", "") for config in (CONFIG, *_SHAPE_WEIGHTS)]
    ids += [run_id_of(CONFIG, "films-2", ""), run_id_of(CONFIG, "films-1", "00")]
    assert len(set(ids)) == len(ids)
    assert {run_id_of(config, "films-1", "") for config in _DO_NOT} == {ids[0]}
    assert all(name.startswith("tiny-") for name in ids)
    assert run_id_of(replace(CONFIG, recipe="/my/own.toml"), "films-1", "").startswith("own-")


def record(config=CONFIG, dataset_id="films-1", start_sha256=""):
    return RunRecord("run-1", config.recipe, dataset_id, start_sha256, settings_of(config))


@pytest.mark.parametrize("config", _DO_NOT)
def test_a_run_goes_on_with_what_does_not_shape_its_weights(tmp_path, config):
    store = FileStore(tmp_path)
    begin_run(store, record())
    begin_run(store, record(config))


@pytest.mark.parametrize("config", _SHAPE_WEIGHTS)
def test_a_run_does_not_go_on_with_what_does(tmp_path, config):
    store = FileStore(tmp_path)
    begin_run(store, record())
    with pytest.raises(InvalidInput, match=r"^run run-1 was begun with train\."):
        begin_run(store, record(config))


def test_other_data_and_other_weights_are_named(tmp_path):
    store = FileStore(tmp_path)
    begin_run(store, record())
    with pytest.raises(InvalidInput) as raised:
        begin_run(store, record(dataset_id="films-2", start_sha256="0123"))
    assert str(raised.value) == (
        "run run-1 was begun with dataset_id films-1, not films-2, start_sha256 nothing, not 0123: go on with "
        "those, or give this run another name by --run"
    )
