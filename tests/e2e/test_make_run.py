"""`make run` on the bundled clip, in a checkout whose environment stands already: a report, and how right it is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gim.synthetic.clip import bundled_clip
from tests.e2e.commands import ROOT, environment, objects_of

pytestmark = pytest.mark.slow

_GIVEN_BY_MAKE = ("VIDEO", "STORE", "REPORT", "ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL")
_MADE = ("Makefile", "pyproject.toml", "constraints.txt", "constraints-dev.txt")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that `make` works with, and a `.venv` that is this interpreter and this package."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in _MADE:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, command in (("python", sys.executable), ("gim", f"{sys.executable} -m gim")):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    (folder / ".venv" / ".main").touch()  # newer than all it is made of: nothing is installed
    return folder


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in environment().items() if name not in _GIVEN_BY_MAKE}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=checkout, env=plain, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_make_run_labels_the_bundled_clip_and_says_how_right_it_is(checkout: Path) -> None:
    done = make(checkout, "run")
    assert done.returncode == 0, done.stderr
    assert "installing" not in done.stdout
    kept = re.search(r"walk\.mp4 +kept +(\d+) +(\d+) +(\d+) +([\d.]+) s", done.stdout)
    assert kept, done.stdout
    frames, pairs, correspondences = (int(number) for number in kept.groups()[:3])
    assert frames > 50
    assert pairs > 30
    assert correspondences > 64 * pairs
    assert float(kept[4]) > 0.8  # seconds: beyond the largest base interval
    assert "report: data/report.html" in done.stdout
    report = (checkout / "data" / "report.html").read_text(encoding="utf-8")
    assert "walk.mp4" in report
    assert not re.search(r'(src|href)="https?://', report)
    assert sum(key.endswith(".tar") for key in objects_of(checkout / "data" / "store")) >= 1
    after = done.stdout.partition("against the clip's own truth:")[2]
    assert re.search(r"\d", after), done.stdout


def test_make_run_of_a_video_of_ones_own_goes_where_it_is_told(checkout: Path) -> None:
    (checkout / "my own").mkdir()
    clip = shutil.copy(bundled_clip()[0], checkout / "my own" / "walk 2.mp4")
    place = ("STORE=elsewhere/store", "REPORT=elsewhere/r.html")
    done = make(checkout, "run", f"VIDEO={clip}", *place, "ARGS=--quiet --trim-end 12")
    assert done.returncode == 0, done.stderr
    assert (checkout / "elsewhere" / "store" / "gim-store.json").exists()
    assert "walk 2.mp4" in (checkout / "elsewhere" / "r.html").read_text(encoding="utf-8")


def test_make_run_of_an_absent_video_is_one_line_and_leaves_nothing(checkout: Path) -> None:
    missing = make(checkout, "run", "VIDEO=absent.mp4", "STORE=nowhere/store", "REPORT=nowhere/r.html", "ARGS=--quiet")
    assert missing.returncode != 0
    assert "error: 'absent.mp4': no such file" in missing.stderr
    assert not (checkout / "nowhere").exists()
    assert not (checkout / "absent.mp4").exists()


@pytest.mark.parametrize(("video", "asks"), [("https://youtu.be/dQw4w9WgXcQ", True), ("https://example.org/v", False)])
def test_make_run_installs_a_javascript_runtime_for_youtube_alone(checkout: Path, video: str, asks: bool) -> None:
    (checkout / "constraints-youtube.txt").touch()  # nothing in it: pip asks nobody
    stamp = checkout / ".venv" / ".youtube"
    stamp.unlink(missing_ok=True)
    done = make(checkout, "run", f"VIDEO={video}", "ARGS=--recipe absent")  # refused before anything is fetched
    assert done.returncode != 0
    assert "absent" in done.stderr
    assert stamp.exists() == asks, done.stderr
