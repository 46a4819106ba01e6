import json

import numpy as np
import pytest

from gim import codecs
from gim.cli.main import run_command
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.render import render_frame
from tests.synthetic import world_and_path

SIZE = (240, 180)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Six views of a rendered room along a path."""
    folder = tmp_path_factory.mktemp("room") / "images"
    folder.mkdir()
    scene, path = world_and_path("room", 0)
    for view in range(6):
        camera = Camera(intrinsics(*SIZE, 65.0), path(0.25 * view), *SIZE)
        (folder / f"{view}.png").write_bytes(codecs.encode_png(render_frame(scene, camera, supersample=1)))
    return folder


def test_a_rendered_room_is_reconstructed_by_default(images, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["reconstruct", str(images), str(out), "--camera", "shared", "--threads", "1"]
    assert run_command([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["registered"], found["matcher"]) == (6, 6, "rootsift")
    assert found["mean_reprojection_error_px"] < 1
    picture = codecs.decode_image((out / "picture.png").read_bytes())
    assert picture.std() > 3

    assert run_command(words) == 0
    table = capsys.readouterr().out
    assert "6 of 6 images" in table
    assert "rootsift-" in table


def test_a_sequence_is_paired_with_neighbours_and_what_looks_alike(images, tmp_path, capsys):
    words = ["reconstruct", str(images), str(tmp_path / "out"), "--pairs", "sequential"]
    assert run_command([*words, "--overlap", "1", "--num-similar", "2", "--camera", "shared", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 5 <= found["pairs"] < 15
    assert found["registered"] >= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--camera", "mine"], "--camera: Input should be 'auto', 'shared', 'per-image' or 'per-folder', got 'mine'"),
        (["--overlap", "0"], "overlap, num_similar and max_exhaustive have to be at least 1"),
        (["--matcher", "rootshift"], "no matcher 'rootshift' (did you mean rootsift?)"),
        (["--pairs", "nowhere.txt"], "pairs nowhere.txt: No such file"),
        (["--masks", "nowhere"], "masks nowhere: no such folder"),
        (["--camera-model", "FISH"], "camera model 'FISH': there are"),
        (["--threads", "-1"], "--threads -1"),
    ],
)
def test_what_cannot_be_done_is_one_line(images, tmp_path, capsys, options, message):
    assert run_command(["reconstruct", str(images), str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "out" / "summary.json").exists()


def test_images_that_share_nothing_have_no_model(tmp_path, capfd):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for view in range(2):
        (folder / f"{view}.png").write_bytes(codecs.encode_png(rng.integers(0, 256, (120, 160, 3), np.uint8)))
    assert run_command(["reconstruct", str(folder), str(tmp_path / "out")]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: no model: none of 1 pairs has 25 matches that agree; take images that share more")
    assert said.count("\n") == 1
