"""`gim match --server` and `gim ls matchers --server`: as without a server, but for where the work is done."""

import json

import cv2
import numpy as np
import pytest

from gim import codecs
from gim.cli.main import run_command
from gim.matchers.registry import load_matcher
from gim.rpc.server import serving
from tests.integration.rpc_serving import LOCAL, textured


@pytest.fixture(scope="module")
def address():
    with serving([load_matcher("rootsift")], None, LOCAL) as address:
        yield address


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A JPEG, a PNG that is transparent in part, and a TIFF of 16 bits, which is no format that is sent."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "0.jpg").write_bytes(codecs.encode_jpeg(textured()))
    transparent = np.dstack([textured(shift=3.0)[..., ::-1], np.full((120, 160), 255, np.uint8)])
    transparent[:40, :, 3] = 0
    cv2.imwrite(str(folder / "1.png"), transparent)
    cv2.imwrite(str(folder / "2.tiff"), textured(shift=2.0).astype(np.uint16) * 257)
    return folder


@pytest.mark.parametrize("names", [("0.jpg", "1.png"), ("0.jpg", "2.tiff"), ("2.tiff", "1.png")])
def test_what_is_written_is_the_same_bytes_as_without_a_server(address, images, tmp_path, capsys, names):
    paths = [str(images / name) for name in names]
    summaries = []
    for where in ("here", "there"):
        server = ["--server", address] if where == "there" else []
        files = ["--npz", str(tmp_path / f"{where}.npz"), "--warp", str(tmp_path / f"{where}.png")]
        assert run_command(["match", *paths, *files, *server, "--json"]) == 0
        summaries.append(json.loads(capsys.readouterr().out))
    here, there = summaries
    assert here["matches"] > 50
    assert (tmp_path / "here.npz").read_bytes() == (tmp_path / "there.npz").read_bytes()
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()
    assert (there["device"], here["device"]) == (address, "cpu")
    different = {"seconds", "device", "npz", "warp"}
    assert {key: value for key, value in here.items() if key not in different} == {
        key: value for key, value in there.items() if key not in different
    }


def test_what_a_server_has_is_listed(address, capsys):
    assert run_command(["ls", "matchers", "--server", address, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["matchers"]
    assert (row["matcher"], row["kind"], row["runs_here"]) == ("rootsift", "sparse", "yes")
    assert run_command(["ls", "matchers", "--server", address]) == 0
    assert "rootsift" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["match", "0.jpg", "1.png", "--server", "ADDRESS", "--matcher", "dkm"], 2, "there are: rootsift"),
        (["match", "0.jpg", "1.png", "--server", "ADDRESS", "--device", "cpu"], 2, "leave them out with --server"),
        (["match", "0.jpg", "1.png", "--server", "ADDRESS", "--certainty", "c.png"], 2, "leave them out with --server"),
        (["match", "0.jpg", "1.png", "--server", "nowhere"], 2, "expected HOST:PORT"),
        (["match", "0.jpg", "1.png", "--server", "ADDRESS", "--tls-ca", "gone.pem"], 2, "gone.pem: No such file"),
        (["match", "0.jpg", "1.png", "--server", "127.0.0.1:1", "--set", "rpc.retry_seconds=0"], 3, "refused"),
        (["ls", "videos", "--server", "ADDRESS"], 2, "has matchers to list"),
    ],
)
def test_what_cannot_be_is_one_line(address, images, monkeypatch, capsys, words, code, said):
    monkeypatch.chdir(images)
    assert run_command([address if word == "ADDRESS" else word for word in words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
