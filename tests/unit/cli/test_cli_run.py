import json
from dataclasses import replace

import pytest

from gim.cli import run as command
from gim.cli.main import run_command
from gim.runtime import run as runtime
from gim.runtime.run import RunResult, VideoSummary

KEPT = VideoSummary(
    source="folder/a.mp4",
    status="kept",
    video_id="file-0123456789abcdef",
    recipe_id="standard-00000000",
    frames_sampled=10,
    pairs_labelled={"rootsift": 24},
    pairs_kept=7,
    correspondences=900,
    median_interval_seconds=0.8,
    seconds={"decode": 1.5},
    rejected={"no_motion": 1},
)
REJECTED = VideoSummary(
    source="b.mp4", status="rejected", frames_sampled=5, rejected={"static_camera": 5}, reason="static_camera"
)
FAILED = VideoSummary(source="c.mp4", status="failed", error="c.mp4: no video stream", exit_code=2)
AWAY = VideoSummary(source="d.mp4", status="failed", error="d.mp4: the server is away", exit_code=3)


@pytest.fixture
def ran(monkeypatch):
    """`gim run` finds that these videos have been run, and notes with which settings."""
    seen = {}

    def prepare(*videos, interrupted=False):
        def run_videos(sources, settings, on_snapshot):
            seen.update(sources=sources, settings=settings)
            return RunResult(list(videos), 2.0, interrupted)

        monkeypatch.setattr(runtime, "run_videos", run_videos)
        return seen

    return prepare


def test_the_json_is_one_object_with_the_promised_fields(ran, capsys):
    ran(KEPT, REJECTED)
    assert run_command(["run", "folder", "b.mp4", "--json"]) == 0
    videos = json.loads(capsys.readouterr().out)["videos"]
    assert videos[0] == {
        "source": "folder/a.mp4",
        "video_id": "file-0123456789abcdef",
        "status": "kept",
        "frames_sampled": 10,
        "pairs_labelled": {"rootsift": 24},
        "pairs_kept": 7,
        "correspondences": 900,
        "median_interval_seconds": 0.8,
        "seconds": {"decode": 1.5},
        "rejected": {"no_motion": 1},
    }
    assert videos[1]["rejected"] == {"static_camera": 5}


def test_a_video_that_failed_is_in_the_json_and_one_line_on_stderr(ran, capsys):
    ran(KEPT, FAILED)
    assert run_command(["run", "a.mp4", "c.mp4", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["videos"][1]["error"] == "c.mp4: no video stream"
    assert err == "error: c.mp4: no video stream\n"


@pytest.mark.parametrize(
    ("videos", "interrupted", "code"),
    [([KEPT, REJECTED], False, 0), ([KEPT, FAILED], False, 2), ([AWAY], False, 3), ([KEPT], True, 130), ([], False, 0)],
)
def test_the_exit_code_says_how_it_went(ran, capsys, videos, interrupted, code):
    ran(*videos, interrupted=interrupted)
    assert run_command(["run", "x", "--quiet"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert ("the same command continues" in err) == interrupted


SKIPPED = VideoSummary(
    source="https://www.youtube.com/watch?v=BBBBBBBBBBB", status="skipped", rejected={"private": 1}, reason="private"
)


def test_an_entry_of_a_list_that_was_skipped_is_no_error(ran, capsys):
    ran(KEPT, SKIPPED)
    assert run_command(["run", "PLabcdefghijkl"]) == 0
    out, err = capsys.readouterr()
    assert "skipped: private" in out
    assert "2 videos (1 kept, 1 skipped), 7 pairs" in out
    assert err == ""
    assert run_command(["run", "PLabcdefghijkl", "--json"]) == 0
    skipped = json.loads(capsys.readouterr().out)["videos"][1]
    assert (skipped["status"], skipped["rejected"]) == ("skipped", {"private": 1})


def test_names_are_shown_as_they_are_and_move_no_cursor(ran, capsys):
    ran(replace(KEPT, source="[bold]a\x1b[2Jb.mp4"), replace(FAILED, error="c\x1b]0;x\x07.mp4: is\nempty"))
    assert run_command(["run", "x"]) == 2
    out, err = capsys.readouterr()
    assert "[bold]a?[2Jb.mp4" in out
    assert err == "error: c?]0;x?.mp4: is empty\n"


def test_rows_are_not_cut_where_nothing_bounds_them(ran, capsys):
    name = "x" * 300 + ".mp4"
    ran(replace(KEPT, source=name))
    assert run_command(["run", "x"]) == 0
    assert f"{name}  kept" in capsys.readouterr().out


@pytest.mark.parametrize("below", ["", "a-file/report.html"])
def test_a_report_that_cannot_be_written_is_refused_before_any_work(ran, capsys, tmp_path, below):
    (tmp_path / "a-file").write_text("x")
    seen = ran(KEPT)
    assert run_command(["run", "x", "--report", str(tmp_path / below)]) == 2
    assert seen == {}
    assert str(tmp_path) in capsys.readouterr().err


def test_a_report_that_fails_after_all_takes_nothing_from_the_summary(ran, capsys, tmp_path):
    ran(KEPT)
    arguments = ["run", "x", "--store", str(tmp_path / "gone"), "--report", str(tmp_path / "report.html")]
    assert run_command(arguments) == 2
    out, err = capsys.readouterr()
    assert "a.mp4" in out
    assert "report.html" not in out
    assert "no store here" in err


def test_what_an_interruption_left_undone_is_one_line(ran, capsys):
    undone = [VideoSummary(source=f"{n}.mp4", status="unfinished", error="not finished") for n in range(3)]
    ran(KEPT, *undone, FAILED, interrupted=True)
    assert run_command(["run", "x", "--quiet"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "error: c.mp4: no video stream",
        "error: interrupted: the same command continues where this one stopped",
    ]


def test_what_stopped_several_videos_alike_is_one_line(ran, capsys):
    ran(*[VideoSummary(f"{n}.mp4", "unfinished", error="the bus is away", exit_code=3) for n in range(3)])
    assert run_command(["run", "x", "--quiet"]) == 3
    assert capsys.readouterr().err == "error: the bus is away\n"


def test_people_read_a_table(ran, capsys):
    ran(KEPT, REJECTED)
    assert run_command(["run", "x"]) == 0
    out = capsys.readouterr().out
    assert "a.mp4" in out
    assert "0.80 s" in out
    assert "rejected: static_camera" in out
    assert "store: gim-data" in out


def test_flags_are_settings_and_stronger_than_sets(ran):
    seen = ran(KEPT)
    flags = ["--store", "S", "--matchers", "rootsift", "--recipe", "paper", "--jobs", "3", "--threads", "2"]
    flags += ["--trim-start", "1.5", "--trim-end", "2", "--set", "run.jobs=9", "--set", "propagation.min_kept=70"]
    assert run_command(["run", "x", "y", *flags, "--quiet"]) == 0
    settings = seen["settings"]
    assert seen["sources"] == ["x", "y"]
    assert (settings.store, settings.recipe, settings.run.jobs, settings.run.threads) == ("S", "paper", 3, 2)
    assert (settings.sampling.trim_start_seconds, settings.sampling.trim_end_seconds) == (1.5, 2.0)
    assert settings.propagation.min_kept == 70


@pytest.mark.parametrize("flags", [["--jobs", "0"], ["--trim-start", "-1"], ["--recipe", "nonsense"], ["--set", "x=1"]])
def test_a_setting_that_makes_no_sense_stops_before_any_work(ran, capsys, flags):
    seen = ran(KEPT)
    assert run_command(["run", "x", *flags]) == 2
    assert seen == {}
    assert capsys.readouterr().err.startswith("error: ")


def test_the_fields_of_the_json_are_those_of_the_summary():
    assert set(command._FIELDS) <= set(VideoSummary.__slots__)
