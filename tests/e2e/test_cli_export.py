"""`gim export` on a store a real run has made."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gim.cli.main import run_command
from tests.labelled_clip import label_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return label_clip(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("name", ["npz", "webdataset", "hdf5", "colmap"])
def test_every_format_says_what_it_wrote(clip, tmp_path, capsys, name):
    command = ["export", "--format", name, str(tmp_path / "o"), "--store", str(clip.root), "--json"]
    assert run_command(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_pairs"] > 0
    assert (tmp_path / "o" / "README.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["o"]
    assert run_command(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--overwrite" in err
    assert run_command([*command, "--overwrite"]) == 0


def test_flags_are_conditions(clip, tmp_path, capsys):
    command = ["export", "--format", "npz", str(tmp_path / "o"), "--store", str(clip.root)]
    bounds = ["--min-interval", "0.7", "--max-interval", "1.0", "--min-correspondences", "40"]
    bounds += ["--min-coverage", "0.1", "--min-parallax", "0", "--max-residual", "2", "--where", "num_links>=0"]
    assert run_command([*command, *bounds]) == 0
    assert "left out by the conditions" in capsys.readouterr().out
    files = list((tmp_path / "o").rglob("*.npz"))
    assert files
    for path in files:
        with np.load(path) as data:
            assert 0.7 <= data["quality"]["interval_seconds"] <= 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "png"], "png"),
        (["--format", "npz", "--min-interval", "1000"], "nothing to export"),
        (["--format", "npz", "--video", "file-0000000000000000"], "has no finished result"),
        (["--format", "npz", "--video", "../x"], "invalid video id"),
        (["--format", "npz", "--recipe-id", "paper-00000000"], "no finished result of recipe"),
        (["--format", "npz", "--camera", "PINHOLE,1,1,1,1"], "--camera is for colmap"),
        (["--format", "npz", "--where", "beauty>1"], "no quality field 'beauty'"),
        (["--format", "colmap", "--camera", "FISH,1"], "no model 'FISH'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(clip, tmp_path, capsys, words, said):
    assert run_command(["export", str(tmp_path / "o"), "--store", str(clip.root), *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_the_store_itself_is_no_place_for_an_export(clip, capsys):
    assert run_command(["export", "--format", "npz", str(clip.root / "o"), "--store", str(clip.root)]) == 2
    assert "lies in the store" in capsys.readouterr().err


def test_a_file_that_may_not_grow_further_is_unavailable_and_leaves_nothing(clip, tmp_path):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from gim.cli.main import run_command; sys.exit(run_command(sys.argv[1:]))"
    )
    for name in ("npz", "webdataset"):
        command = ["export", "--format", name, str(tmp_path / "o"), "--store", str(clip.root)]
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith("error: cannot write ")
        assert done.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
