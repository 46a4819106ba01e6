import json

from gim.cli.main import run_command
from gim.video.sources.youtube_runtime import JavaScript


def test_a_machine_that_passes_the_tests_can_run_the_main_job(tmp_path, capsys):
    assert run_command(["doctor", "--store", str(tmp_path / "store"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["matchers"]["rootsift"] == ""
    assert facts["packages"]["numpy"]
    assert facts["cores"] >= 1
    assert facts["problems"] == []
    assert not (tmp_path / "store").exists()


def test_a_matcher_that_cannot_run_is_a_problem(tmp_path, capsys):
    assert run_command(["doctor", "--store", str(tmp_path), "--set", "matchers=rootsift,nonsense"]) == 1
    assert "matcher nonsense" in capsys.readouterr().out


def test_people_read_the_same_facts(tmp_path, capsys):
    assert run_command(["doctor", "--store", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "rootsift: can run here" in out
    assert "the main job can run here" in out
    assert "youtube" in out


def test_what_youtube_lacks_is_told_and_stops_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gim.video.sources.youtube_runtime.find_javascript", lambda: JavaScript("", ""))
    assert run_command(["doctor", "--store", str(tmp_path)]) == 0
    assert "YouTube needs a JavaScript runtime and the package yt-dlp-ejs" in capsys.readouterr().out
