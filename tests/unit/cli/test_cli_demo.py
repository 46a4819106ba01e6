"""`gim demo` before it serves anything; the page itself is tested in a browser, in tests/e2e/test_demo_browser.py."""

import socket
import sys

import pytest

from gim.cli.main import run_command
from gim.demo.compare import Comparison
from gim.errors import InvalidInput, UnknownMatcher
from gim.settings import Settings
from tests.unit.video.media import png_bytes


def said(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("package", ["gradio", "uvicorn"])
def test_without_its_packages_the_way_out_is_named(monkeypatch, capsys, package):
    for name in [name for name in sys.modules if name == package or name.startswith("gim.demo.page")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert run_command(["demo", "--port", "0"]) == 2
    assert f"gim demo needs {package}, not installed: pip install 'gim-pipeline[demo]'" in said(capsys)


def test_a_port_that_is_taken_is_named(capsys):
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_command(["demo", "--port", str(port)]) == 3
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in said(capsys)


def test_an_unknown_matcher_is_refused_with_the_nearest():
    with pytest.raises(UnknownMatcher, match="rootsift"):
        Comparison(Settings(), ["rootsfit"])


def test_a_matcher_that_lacks_packages_is_listed_with_the_reason(monkeypatch):
    reasons = {"rootsift": "", "loftr": "needs kornia, not installed"}
    monkeypatch.setattr("gim.demo.compare.matcher_status", lambda name: reasons.get(name, "needs more"))
    comparison = Comparison(Settings())
    assert comparison.offered == ["rootsift"]
    assert comparison.missing["loftr"] == "needs kornia, not installed"
    with pytest.raises(InvalidInput, match="matcher loftr: needs kornia"):
        Comparison(Settings(), ["loftr"])


def test_one_matchers_bug_leaves_the_others_alone(monkeypatch, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(png_bytes(160, 120))

    def load(name, *_):
        raise RuntimeError("boom")

    monkeypatch.setattr("gim.demo.compare.load_matcher", load)
    outcomes = list(Comparison(Settings(), ["rootsift"]).outcomes(path, path, ["rootsift", "rootsift"]))
    assert [outcome.text for outcome in outcomes] == ["rootsift: unexpected RuntimeError: boom (a bug)"] * 2
    assert outcomes[0].picture is None


def test_images_are_refused_before_any_matcher_is_loaded(tmp_path):
    with pytest.raises(InvalidInput, match=r"absent\.png"):
        next(Comparison(Settings(), ["rootsift"]).outcomes(tmp_path / "absent.png", tmp_path / "absent.png", []))
