"""Curves for TensorBoard: one line where its package is absent, and a full disk ends no run."""

import sys
import types
from pathlib import Path

import pytest

from gim.errors import ConfigError
from gim.training.looking.tensorboard import open_tensorboard

_MODULE = "torch.utils.tensorboard"


class Writer:
    """Notes what a `SummaryWriter` is told."""

    made: list["Writer"]
    error: OSError | None = None

    def __init__(self, folder, purge_step=None):
        if self.error and "nowhere" in folder:
            raise self.error
        self.folder, self.purge_step, self.points, self.is_closed = folder, purge_step, [], False
        self.made.append(self)

    def add_scalar(self, tag, value, step):
        if self.error:
            raise self.error
        self.points.append((tag, value, step))

    def close(self):
        self.is_closed = True


@pytest.fixture
def writers(monkeypatch):
    kind = type("SummaryWriter", (Writer,), {"made": []})
    module = types.ModuleType(_MODULE)
    module.SummaryWriter = kind
    monkeypatch.setitem(sys.modules, _MODULE, module)
    return kind


def test_points_go_to_the_folder_and_what_an_interrupted_run_left_is_dropped(writers, tmp_path):
    curves = open_tensorboard(tmp_path, from_step=40)
    curves.add_scalar("loss", 0.5, 41)
    curves.close()
    curves.close()
    curves.add_scalar("loss", 0.5, 42)
    (writer,) = writers.made
    assert (writer.folder, writer.purge_step, writer.points) == (str(tmp_path), 41, [("loss", 0.5, 41)])
    assert writer.is_closed
    assert open_tensorboard(tmp_path) is not None
    assert writers.made[-1].purge_step is None


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, _MODULE, None)
    with pytest.raises(
        ConfigError, match=r"train\.keep\.tensorboard = .*pip install 'gim-pipeline\[training\]'"
    ) as told:
        open_tensorboard(tmp_path)
    assert "\n" not in str(told.value)


def test_a_folder_that_cannot_be_made_is_said(writers):
    writers.error = PermissionError(13, "Permission denied")
    with pytest.raises(ConfigError, match=r"tensorboard = /nowhere: Permission denied"):
        open_tensorboard(Path("/nowhere"))


def test_a_full_disk_is_said_once_and_ends_nothing(writers, tmp_path):
    lines = []
    curves = open_tensorboard(tmp_path, say=lines.append)
    writers.error = OSError(28, "No space left on device")
    for step in range(3):
        curves.add_scalar("loss", 0.5, step)
    curves.close()
    assert lines == [f"{tmp_path}: no more curves for TensorBoard (No space left on device); training goes on"]


def test_the_real_package_writes_what_it_is_told(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = open_tensorboard(tmp_path)
    for step in range(3):
        curves.add_scalar("loss", 1.0 / (step + 1), step)
    curves.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(item.step, item.value) for item in events.Scalars("loss")] == [
        (0, 1.0),
        (1, 0.5),
        (2, pytest.approx(1 / 3)),
    ]
