import io

import pytest
from rich.console import Console

from gim.cli._progress import RunProgress, draw_snapshot, overall_line, video_share
from gim.runtime.journal import RunSnapshot, VideoActivity


def activity(ingest=(0, 1), label=(0, 0), propagate=(0, 0), **more) -> VideoActivity:
    return VideoActivity(messages={"ingest": ingest, "label": label, "propagate": propagate}, **more)


DONE = activity((1, 1), (4, 4), (4, 4))


def snapshot(*activities: VideoActivity, elapsed: float = 60.0) -> RunSnapshot:
    return RunSnapshot(elapsed, {f"video{index}": item for index, item in enumerate(activities)}, {}, ())


def test_the_share_grows_from_nothing_to_everything():
    steps = [
        activity(),
        activity(phase="decode", done=5.0, total=10.0),
        activity((1, 1), (0, 4)),
        activity((1, 1), (1, 4), (0, 1)),
        activity((1, 1), (1, 4), (0, 1), phase="label", done=2.0, total=4.0),
        activity((1, 1), (4, 4), (3, 4)),
        DONE,
    ]
    shares = [video_share(step) for step in steps]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len(set(shares)) == len(shares)


def test_a_video_of_which_nothing_is_known_has_done_nothing():
    assert video_share(VideoActivity()) == 0


def test_the_line_tells_the_rate_and_the_time_left():
    half = activity((1, 1), (0, 4), counters={"pairs_labelled{matcher=rootsift}": 120.0})
    line = overall_line(snapshot(DONE, half), num_sources=2)
    assert "1 of 2 videos" in line
    assert "120 base pairs, 2.0 a second" in line
    assert "1:00 so far" in line
    assert "left" in line


@pytest.mark.parametrize(("elapsed", "clock"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36610, "10:10:10")])
def test_times_are_read_off_a_clock(elapsed, clock):
    assert f"{clock} so far" in overall_line(snapshot(DONE, elapsed=elapsed), 1)


def test_no_time_left_is_told_before_anything_is_known_or_when_all_is_done():
    assert "left" not in overall_line(snapshot(), 3)
    assert "left" not in overall_line(snapshot(DONE), 1)


def test_videos_at_work_are_drawn_and_the_many_are_counted():
    names = [activity(sources=(f"folder/clip{index}.mp4",)) for index in range(11)]
    console = Console(file=io.StringIO(), width=100)
    console.print(draw_snapshot(snapshot(DONE, *names), 12))
    text = console.file.getvalue()
    assert text.count("clip") == 8
    assert "and 3 more" in text
    assert "1 of 12 videos" in text


def test_without_a_terminal_there_are_few_plain_lines_on_stderr_and_none_when_quiet(capsys, monkeypatch):
    monkeypatch.setattr("gim.cli._progress._PLAIN_LINE_SECONDS", 0.0)
    for quiet, lines in ((False, 1), (True, 0)):
        with RunProgress(1, quiet=quiet) as progress:
            progress.update(snapshot(DONE))
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == lines
