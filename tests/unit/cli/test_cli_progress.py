import io
from dataclasses import replace

import pytest
from rich.console import Console

from gim.cli._progress import RunProgress, draw_snapshot, overall_line, phase, seconds_left, video_share
from gim.runtime.journal import RunSnapshot, VideoActivity


def activity(ingest=(0, 1), label=(0, 0), propagate=(0, 0), *, work_seconds=9.0, **more) -> VideoActivity:
    numbers = {"ingest": ingest, "label-rootsift": label, "propagate": propagate}
    messages = {group: number for group, number in numbers.items() if number != (0, 0)}
    return VideoActivity(messages=messages, seconds={"matching": work_seconds}, **more)


DONE = activity((1, 1), (4, 4), (4, 4))


def snapshot(*activities: VideoActivity, elapsed: float = 60.0, num_videos: int = 0) -> RunSnapshot:
    videos = {f"video{index}": item for index, item in enumerate(activities)}
    return RunSnapshot(elapsed, videos, {}, (), num_videos)


def test_the_share_grows_from_nothing_to_everything():
    steps = [
        activity(),
        activity(phase="fetch", done=5.0, total=50.0),
        activity(phase="decode", done=5.0, total=10.0),
        activity((1, 1), (0, 4), phase="label", done=0.5, total=4),
        activity((1, 1), (1, 4), (0, 1), phase="label", done=1.0, total=4),
        activity((1, 1), (1, 4), (1, 1), phase="label", done=1.5, total=4),
        activity((1, 1), (4, 4), (3, 4), phase="label", done=4.0, total=4),
        activity((1, 1), (4, 4), (3, 4), phase="propagate", done=20.0, total=60.0),
        activity((1, 1), (4, 4), (3, 4), phase="propagate", done=60.0, total=60.0),
        DONE,
    ]
    shares = [video_share(step) for step in steps]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize(
    ("ended", "is_done"),
    [
        (activity((1, 1), propagate=(1, 1)), True),  # rejected: nothing to label
        (activity((1, 1), num_dead=1), True),  # refused
        (activity((1, 1)), False),  # its segments are on their way
        (activity((1, 1), (3, 4), (3, 3), num_dead=1), False),  # the other segments are labelled still
        (activity((1, 1), (4, 4), (3, 4)), False),
    ],
)
def test_a_video_is_done_when_nothing_follows(ended, is_done):
    assert (video_share(ended) == 1) == is_done


def test_a_video_of_which_nothing_is_known_has_done_nothing():
    assert video_share(VideoActivity()) == 0


def test_the_line_tells_the_rate_and_the_time_left():
    half = activity((1, 1), (0, 4), counters={"pairs_labelled{matcher=rootsift}": 120.0})
    line = overall_line(snapshot(replace(DONE, duration_seconds=30.0), half, num_videos=4))
    assert "1 of 4 videos done" in line
    assert "120 base pairs" in line
    assert "0.5x real time" in line
    assert "1:00 so far" in line
    assert "left" in line


def test_videos_that_were_finished_before_say_nothing_of_the_pace():
    passed = [activity((1, 1), (4, 4), (4, 4), work_seconds=0.1) for _ in range(97)]
    fresh = [DONE, activity((1, 1), (2, 4), (2, 2)), activity()]
    (share,) = {video_share(fresh[1])}
    left = seconds_left(snapshot(*passed, *fresh, num_videos=100))
    assert left == pytest.approx(60.0 * (2 - share) / (1 + share))


def test_videos_that_failed_are_counted_and_one_video_is_not():
    line = overall_line(snapshot(DONE, activity((1, 1), num_dead=1), num_videos=3))
    assert "2 of 3 videos done · 1 failed" in line
    assert "videos" not in overall_line(snapshot(activity(), num_videos=1))


def test_what_was_told_before_the_id_was_known_is_no_second_video():
    at_work = snapshot(activity(phase="decode", done=5.0, total=10.0), VideoActivity(seconds={"store": 1.0}))
    console = Console(file=io.StringIO(), width=100)
    console.print(draw_snapshot(at_work))
    assert "video0" in console.file.getvalue()
    assert "video1" not in console.file.getvalue()
    assert "decode 50%" in console.file.getvalue()


@pytest.mark.parametrize(
    ("at_work", "words"),
    [
        (VideoActivity(), "waiting"),
        (activity((1, 1), (4, 4), (0, 1)), "propagate"),
        (activity(phase="fetch", done=10.0), "fetch"),
        (activity((1, 1), (0, 4), phase="decode", done=9.9, total=10.0), "label"),
        (activity((1, 1), (4, 4), (3, 4), phase="label", done=4.0, total=4.0), "propagate"),
        (activity((1, 1), (3, 4), (3, 3), phase="label", done=3.5, total=4.0), "label, 3 of 4 segments"),
        (activity((1, 1), (4, 4), (3, 4), phase="propagate", done=16.0, total=64.0), "propagate 25%"),
    ],
)
def test_the_phase_is_told_in_words(at_work, words):
    assert phase(at_work) == words


@pytest.mark.parametrize(("elapsed", "clock"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36610, "10:10:10")])
def test_times_are_read_off_a_clock(elapsed, clock):
    assert f"{clock} so far" in overall_line(snapshot(DONE, elapsed=elapsed))


def test_no_time_left_is_told_before_anything_is_known_or_when_all_is_done():
    assert "left" not in overall_line(snapshot(num_videos=3))
    assert "left" not in overall_line(snapshot(DONE))


def test_videos_at_work_are_drawn_and_the_many_are_counted():
    names = [activity(sources=(f"folder/clip{index}.mp4",)) for index in range(11)]
    console = Console(file=io.StringIO(), width=100)
    console.print(draw_snapshot(snapshot(DONE, *names)))
    text = console.file.getvalue()
    assert text.count("clip") == 8
    assert "and 3 more" in text
    assert "1 of 12 videos" in text


@pytest.mark.parametrize(("given", "lines"), [({}, 1), ({"quiet": True}, 0), ({"plain_lines": False}, 0)])
def test_without_a_terminal_there_are_few_plain_lines_on_stderr_and_none_for_programs(
    capsys, monkeypatch, given, lines
):
    monkeypatch.setattr("gim.cli._progress._PLAIN_LINE_SECONDS", 0.0)
    with RunProgress(**given) as progress:
        progress.update(snapshot(DONE))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == lines


@pytest.mark.parametrize(("term", "is_drawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(capsys, monkeypatch, term, is_drawn):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with RunProgress() as progress:
        progress.update(snapshot(activity()))
    assert ("\x1b[" in capsys.readouterr().err) == is_drawn
