"""The job that makes a dataset: its log in JSON, its exit codes, and nothing for nothing."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gim.adapters.store_file import FileStore
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import dataset_ids
from gim.runtime.dataset_job import run_dataset_job
from gim.runtime.logs import make_log
from gim.settings import Settings
from tests.finished_pairs import RECIPE_ID, finish

CONFIG = DatasetConfig(name="films", held_out_share=0.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    FileStore(tmp_path / "store").close()
    return tmp_path / "store"


def job(root: Path | str, config: DatasetConfig = CONFIG) -> tuple[int, list[dict[str, Any]]]:
    stream = io.StringIO()
    code = run_dataset_job(replace(Settings(), store=str(root), dataset=config), make_log(stream, "json"))
    return code, [json.loads(line) for line in stream.getvalue().splitlines()]


def test_it_makes_a_dataset_and_says_what_is_in_it(root: Path) -> None:
    store = FileStore(root)
    finish(store, 0)
    empty = finish(store, 1, shards=())
    code, lines = job(root)
    assert code == 0
    assert [line["event"] for line in lines] == ["dataset_begun", "video_left_out", "dataset_built"]
    assert (lines[1]["video"], lines[1]["recipe"], lines[1]["reason"]) == (empty, RECIPE_ID, "no_pairs")
    last = lines[-1]
    assert [last["dataset"]] == dataset_ids(store)
    assert (last["videos"], last["pairs"], last["held_out_pairs"], last["left_out"]) == (1, 5, 0, {"no_pairs": 1})
    again = job(root)
    assert (again[0], again[1][-1]["event"], again[1][-1]["dataset"]) == (0, "dataset_present", last["dataset"])
    store.close()


def test_nothing_to_do_is_said_and_no_error(root: Path) -> None:
    code, lines = job(root)
    assert (code, lines[-1]["event"], lines[-1]["pairs"]) == (0, "dataset_too_small", 0)


def test_bad_settings_and_a_store_that_is_none_are_one_line(root: Path, tmp_path: Path) -> None:
    code, lines = job(root, replace(CONFIG, where=("sharpness>1",)))
    assert (code, lines[-1]["event"], lines[-1]["error"]) == (2, "dataset_failed", "InvalidInput")
    assert lines[-1]["message"].startswith("condition 'sharpness>1'")
    code, lines = job(tmp_path / "nowhere")
    assert (code, lines[-1]["error"]) == (2, "ConfigError")
    code, lines = job("s3://bucket")
    assert (code, lines[-1]["error"]) == (2, "ConfigError")
