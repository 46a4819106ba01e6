"""The picture of a run: journals of several processes and outcomes of messages, under one name per video."""

import json
from pathlib import Path

from gim.runtime.journal import RunWatch
from gim.runtime.outcome import Begun, DeadLetter, Outcome


def append(path: Path, *entries: dict[str, object]) -> None:
    with path.open("a") as file:
        for entry in entries:
            file.write(json.dumps(entry) + "\n")


def begun(stage: str, topic: str, subject: str, offset: int = 1) -> Begun:
    return Begun(stage, stage, topic, subject, offset, subject)


def test_snapshot_sums_over_processes_and_calls(tmp_path: Path) -> None:
    watch = RunWatch(tmp_path)
    assert watch.snapshot().videos == {}
    for process in ("1", "2"):
        append(tmp_path / f"{process}.jsonl", {"at": 1, "video": "v", "step": "matching", "seconds": 1.5})
        append(tmp_path / f"{process}.jsonl", {"at": 1, "video": "v", "count": "pairs{reason=few}", "value": 2})
    assert watch.snapshot().videos["v"].seconds == {"matching": 3.0}
    append(tmp_path / "2.jsonl", {"at": 2, "video": "v", "step": "matching", "seconds": 1})
    activity = watch.snapshot().videos["v"]
    assert activity.seconds == {"matching": 4.0}
    assert activity.counters == {"pairs{reason=few}": 4}


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    watch, path = RunWatch(tmp_path), tmp_path / "1.jsonl"
    line = json.dumps({"at": 1, "video": "v", "count": "frames", "value": 5}) + "\n"
    path.write_text(line + line[:20])
    assert watch.snapshot().videos["v"].counters == {"frames": 5}
    with path.open("a") as file:
        file.write(line[20:])
    assert watch.snapshot().videos["v"].counters == {"frames": 10}


def test_phase_is_the_one_heard_of_last_whatever_the_file(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", {"at": 5, "video": "v", "phase": "label", "done": 3, "total": 9})
    append(tmp_path / "b.jsonl", {"at": 4, "video": "v", "phase": "decode", "done": 8, "total": 8})
    activity = RunWatch(tmp_path).snapshot().videos["v"]
    assert (activity.phase, activity.done, activity.total) == ("label", 3, 9)


def test_source_and_its_video_id_are_one_video(tmp_path: Path) -> None:
    append(tmp_path / "1.jsonl", {"at": 1, "video": "clip.mp4", "step": "fetch", "seconds": 1})
    append(tmp_path / "1.jsonl", {"at": 2, "video": "file-1", "step": "decode", "seconds": 2})
    watch = RunWatch(tmp_path)
    watch.observe(begun("ingest", "in", "clip.mp4"))
    before = watch.snapshot()
    assert set(before.videos) == {"clip.mp4", "file-1"}
    assert before.videos["clip.mp4"].messages == {"ingest": (0, 1)}
    watch.observe(Outcome(begun("ingest", "in", "clip.mp4"), "done", 1.0, "file-1", {"segments": 4}))
    watch.observe(Outcome(begun("label", "segments", "file-1"), "done", 1.0, "file-1", {"labels": 1}))
    after = watch.snapshot()
    assert set(after.videos) == {"file-1"}
    activity = after.videos["file-1"]
    assert activity.sources == ("clip.mp4",)
    assert activity.seconds == {"fetch": 1, "decode": 2}
    assert activity.messages == {"ingest": (1, 1), "label": (1, 4)}
    assert after.outcomes == {"ingest": {"done": 1}, "label": {"done": 1}}


def test_dead_letters_are_kept_in_order(tmp_path: Path) -> None:
    watch = RunWatch(tmp_path)
    letters = [DeadLetter("clip.mp4", "ingest", "InvalidInput", str(n), "in", "k", n, 1) for n in range(3)]
    for letter in letters:
        watch.observe(Outcome(begun("ingest", "in", "clip.mp4", letter.offset), "dead", 0.1, dead=letter))
    assert watch.snapshot().dead_letters == tuple(letters)
