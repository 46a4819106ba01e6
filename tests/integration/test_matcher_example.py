"""The matcher that docs/adding-a-matcher.md walks through is a matcher: contract suite and a labelling run."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT
from tests.sample_data import shared_folder
from tests.synthetic import write_wall

_PAGE = ROOT / "docs" / "adding-a-matcher.md"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the package and of the contract suite, with the page's file in its place."""
    folder = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("gim", "infra", "tests/contract", "tests/matcher_files"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for file in (ROOT / "tests").glob("*.py"):
        shutil.copy(file, folder / "tests")
    ((place, code),) = re.findall(
        r"^`(gim/matchers/\w+\.py)`:\n\n```python\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    (folder / place).write_text(code)
    return folder


def run(folder, *words):
    environment = {**os.environ, "GIM_SHARED": str(shared_folder()), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_it_keeps_the_contract(checkout):
    (command,) = re.findall(r"^\.venv/bin/python -m (pytest .*)$", _PAGE.read_text(), re.MULTILINE)
    done = run(checkout, *command.split(), "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 25, done.stdout[-1000:]


def test_it_labels_a_video_beside_another(checkout, tmp_path):
    write_wall(tmp_path / "wall.mp4")
    words = ["gim", "run", str(tmp_path / "wall.mp4"), "--store", str(tmp_path / "store"), "--json"]
    done = run(checkout, *words, "--matchers", "rootsift,upright_sift")
    assert done.returncode == 0, done.stderr
    (video,) = json.loads(done.stdout)["videos"]
    assert video["status"] in ("kept", "rejected"), video
    assert video["pairs_labelled"]["upright_sift"] > 0
    assert video["pairs_labelled"]["rootsift"] > 0
