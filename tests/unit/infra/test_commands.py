"""What installs things is tried again, and says how it ended."""

import sys
import threading
import time

import pytest

from infra.commands import Steps
from infra.errors import ToolMissing


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path / "log", say=print, pause_seconds=0.0)


def _python(code):
    return [sys.executable, "-c", code]


def test_a_command_that_fails_at_first_is_tried_again(steps, tmp_path):
    code = "import pathlib, sys; p = pathlib.Path('tries'); n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); sys.exit(n < 2)"  # noqa: E501
    between = []
    steps.run(_python(code), tmp_path, between=lambda: between.append(1))
    assert (tmp_path / "tries").read_text() == "xxx"
    assert len(between) == 2


def test_one_that_never_succeeds_ends_with_the_last_lines_of_its_log(steps, tmp_path):
    code = "import sys; [print('line', i) for i in range(200)]; sys.exit(3)"
    with pytest.raises(ToolMissing, match=r"ended with code 3, 2 times") as caught:
        steps.run(_python(code), tmp_path, attempts=2)
    lines = str(caught.value).splitlines()
    assert lines[-1].strip() == "line 199"
    assert len(lines) == 51


def test_a_program_that_is_not_there_is_named(steps, tmp_path):
    with pytest.raises(ToolMissing, match=r"`no-such-program .*cannot be run"):
        steps.run(["no-such-program"], tmp_path, attempts=1)


def test_one_that_is_cancelled_ends_at_once_and_is_not_tried_again(steps, tmp_path):
    code = "import pathlib, time; pathlib.Path('began').touch(); time.sleep(600)"

    def cancel() -> None:
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        steps.cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(ToolMissing, match="interrupted"):
        steps.run(_python(code), tmp_path)
    thread.join()
    assert (tmp_path / "log").read_text().count("$ ") == 1
