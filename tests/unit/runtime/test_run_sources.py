"""What `run_videos` makes of its sources before any work, and of names that few expect."""

import json
from pathlib import Path

import pytest

from gim.cli.main import run_command
from gim.runtime.run import run_videos
from gim.settings import Settings
from tests.synthetic import small_clip


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A clip that is quickly rejected."""
    path = tmp_path_factory.mktemp("still") / "still.mp4"
    small_clip(path, duration_seconds=0.2, still_seconds=1.0, size=(160, 96), fps=10)
    return path.read_bytes()


def settings(tmp_path: Path) -> Settings:
    return Settings.load([f"store={tmp_path / 'store'}", "run.threads=1"], environ={})


def test_no_store_is_made_where_no_source_stands_for_a_video(tmp_path):
    (tmp_path / "list.txt").write_text("missing.mp4\n../nothing.mp4\n")
    before = sorted(tmp_path.iterdir())
    result = run_videos([str(tmp_path / "absent.mp4"), str(tmp_path / "list.txt")], settings(tmp_path))
    assert [video.status for video in result.videos] == ["failed"] * 3
    assert result.exit_code == 2
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["-x.mp4", "ünï [red]日本.mp4", "a b licence='x'.mp4", "%41;$(id).mp4"])
def test_a_file_of_any_name_in_a_folder_is_worked_off(tmp_path, capsys, still, name):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_bytes(still)
    arguments = ["run", str(tmp_path / "d"), "--store", str(tmp_path / "store"), "--threads", "1"]
    assert run_command([*arguments, "--json"]) == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert (video["source"], video["status"]) == (str(tmp_path / "d" / name), "rejected")
    assert run_command(arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"caf\xe9.mp4", "its name is not UTF-8; rename it"),
        (b"a\n\x1b[31mb.mp4", "holds control characters; rename it"),
    ],
)
def test_a_name_that_cannot_be_passed_on_is_told_and_stops_no_other(tmp_path, still, name, said):
    folder = tmp_path / "d"
    folder.mkdir()
    odd = folder / name.decode("utf-8", "surrogateescape")
    for path in (odd, folder / "good.mp4"):
        path.write_bytes(still)
    result = run_videos([str(folder)], settings(tmp_path))
    (failed,) = [video for video in result.videos if video.status == "failed"]
    assert said in failed.error
    assert failed.error.encode().decode().isprintable()
    assert [video.status for video in result.videos if video is not failed] == ["rejected"]
    assert result.exit_code == 2
