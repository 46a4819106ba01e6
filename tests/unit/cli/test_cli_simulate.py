"""`gim simulate`: what people read, what programs read, and what is refused."""

import json

import pytest

from gim.adapters.telemetry_journal import JournalTelemetry
from gim.cli.main import run_command

SHORT = ["--set", "hours=2", "--set", "warm_up_hours=1"]
TIMES = ["--set", "matchers.network.frame_seconds=0.01", "--set", "matchers.network.pair_seconds=0.03"]


def printed(capsys, *arguments):
    assert run_command(["simulate", *arguments]) == 0
    return capsys.readouterr().out


def test_people_read_what_is_done_what_saturates_and_how_it_went_on(capsys) -> None:
    out = printed(capsys, "cpu", *SHORT, "--set", "prices.core_hour=0.05")
    assert "hours of video a day; no GPUs" in out
    assert "saturates first: pods of label-rootsift" in out
    for word in ("label-rootsift", "partitions of propagate", "store bytes written", "no limit", "USD a day"):
        assert word in out
    moments = out[out.index("messages not done with") :].splitlines()
    assert [line.split()[0] for line in moments[1:4]] == ["hour", "0.0", "0.3"]


def test_programs_read_the_plan_and_all_that_was_found(capsys) -> None:
    (run,) = json.loads(printed(capsys, "gpu", *SHORT, *TIMES, "--json"))["runs"]
    assert run["plan"]["matchers.network.pair_seconds"] == 0.03
    result = run["result"]
    assert result["gpus"] == 10
    assert 0 < result["gpu_idle_share"] < 1
    assert result["saturates_first"] == "partitions of label-network"
    assert {stage["stage"] for stage in result["stages"]} == {"ingest", "label-network", "propagate"}
    assert len(result["series"]["hours"]) == len(result["series"]["lag ingest"])


def test_of_a_number_of_videos_people_read_how_long_they_take(capsys) -> None:
    out = printed(capsys, "cpu", "--set", "videos.number=20", "--set", "videos.lengths_seconds=60,120")
    assert out.startswith("all 20 videos became pairs in ")
    assert "until all was done" in out


def test_gpus_are_compared_and_what_they_need_is_shown(capsys) -> None:
    out = printed(capsys, "gpu", *SHORT, *TIMES, "--gpus", "10,40", "--fit")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["GPUs", "hours/day", "per"]
    assert [line.split()[0] for line in lines[1:3]] == ["10", "40"]
    assert "10 GPUs" in out
    assert "pods of ingest" in out
    runs = json.loads(printed(capsys, "gpu", *SHORT, *TIMES, "--gpus", "10,40", "--json"))["runs"]
    assert [run["plan"]["matchers.network.pods"] for run in runs] == [10, 40]
    assert runs[0]["result"]["video_hours_per_day"] <= runs[1]["result"]["video_hours_per_day"] * 1.05


def test_what_numbers_of_videos_need_is_a_row_each(capsys) -> None:
    out = printed(capsys, "gpu", *SHORT, *TIMES, "--videos-per-day", "100,1000", "--set", "prices.gpu_hour=2")
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["videos/day", "hours/day", "downloaders", "network"]
    assert [line.split()[0] for line in lines[1:3]] == ["100", "1,000"]
    assert "- 1,000 videos: all that is asked for can be done" in out
    runs = json.loads(printed(capsys, "gpu", *SHORT, *TIMES, "--videos-per-day", "100,1000", "--json"))["runs"]
    assert [run["plan"]["videos.per_day"] for run in runs] == [100, 1000]
    assert runs[0]["plan"]["matchers.network.pods"] < runs[1]["plan"]["matchers.network.pods"]


def test_measured_times_replace_those_of_the_plan(capsys, tmp_path) -> None:
    journal = JournalTelemetry(tmp_path / "journal")
    journal.add_seconds("matching", "v", 30.0)
    journal.add_seconds("features", "v", 10.0)
    journal.count("pairs", 300.0, "v", matcher="rootsift", outcome="labelled")
    journal.count("frames_sampled", 100.0, "v")
    journal.close()
    arguments = ["cpu", *SHORT, "--measured", str(tmp_path / "journal")]
    measured = json.loads(printed(capsys, *arguments, "--json"))["measured"]
    assert measured["matchers.rootsift.pair_seconds"] == {"plan": 0.037, "now": pytest.approx(0.1)}
    assert "matchers.rootsift.pair_seconds" in printed(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpu"], "matchers.network.frame_seconds is not known: give a measured time, or one you assume, by --set"),
        (["nothing"], "unknown plan 'nothing'"),
        (["cpu", "--gpus", "10"], "no pods of a matcher on GPUs"),
        (["cpu", "--gpus", "ten"], "--gpus ten: expected whole numbers"),
        (["cpu", "--gpus", "0"], "--gpus 0: expected whole numbers"),
        (["cpu", "--videos-per-day", "-5"], "--videos-per-day -5: expected whole numbers"),
        (["gpu", "--videos-per-day", "5", "--fit"], "--videos-per-day sizes all stages: leave --gpus and --fit away"),
        (["cpu", "--set", "hours=0"], "hours = 0.0: expected a number above 0"),
        (["cpu", "--measured", "missing"], "--measured missing: No such file"),
    ],
)
def test_what_is_refused_is_one_line_and_exit_code_2(capsys, arguments, message) -> None:
    assert run_command(["simulate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert message in line


def test_a_file_that_is_no_measurement_is_named(capsys, tmp_path) -> None:
    file = tmp_path / "metrics"
    file.write_bytes(b"\xff\xfe")
    assert run_command(["simulate", "cpu", "--measured", str(file)]) == 2
    file.write_text("hello")
    assert run_command(["simulate", "cpu", "--measured", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
