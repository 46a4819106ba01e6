"""The journal: what is told adds up in the file, from any thread, and is never in the way of the work."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gim.adapters.telemetry_journal import JournalTelemetry
from tests.contract.processes import program_until_ready


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_journal_adds_up_steps_and_counts_of_all_threads(tmp_path: Path) -> None:
    journal = JournalTelemetry(tmp_path / "j.jsonl", flush_seconds=0.01)

    def tell(_: int) -> None:
        journal.add_seconds("matching", "v", 0.5)
        journal.count("pairs", 2, "v", reason="few", matcher="m")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(tell, range(400)))
    journal.close()
    journal.close()
    told = entries(tmp_path / "j.jsonl")
    assert sum(entry["seconds"] for entry in told if entry.get("step") == "matching") == pytest.approx(200.0)
    assert sum(entry["value"] for entry in told if entry.get("count") == "pairs{matcher=m,reason=few}") == 800
    assert {entry["video"] for entry in told} == {"v"}


def test_step_is_timed_also_when_it_fails(tmp_path: Path) -> None:
    journal = JournalTelemetry(tmp_path / "j.jsonl")
    with pytest.raises(ZeroDivisionError), journal.step("decode", "v"):
        raise ZeroDivisionError
    journal.close()
    (entry,) = entries(tmp_path / "j.jsonl")
    assert entry["step"] == "decode"
    assert entry["seconds"] > 0


def test_progress_keeps_the_last_word_of_each_phase(tmp_path: Path) -> None:
    journal = JournalTelemetry(tmp_path / "j.jsonl", flush_seconds=60)
    for done in range(5):
        journal.progress("v", "decode", done, 10)
    journal.progress("v", "label", 1, 0)
    journal.close()
    told = [(entry["phase"], entry["done"], entry["total"]) for entry in entries(tmp_path / "j.jsonl")]
    assert told == [("decode", 4, 10), ("label", 1, 0)]


def test_journal_of_a_killed_process_holds_what_was_told_before_the_last_flush(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    program = f"""
import time
from pathlib import Path
from gim.adapters.telemetry_journal import JournalTelemetry
journal = JournalTelemetry(Path({str(path)!r}), flush_seconds=0.02)
journal.count("frames", 7, "v")
time.sleep(0.3)
print("ready", flush=True)
input()
"""
    with program_until_ready(program):
        pass
    assert [(entry["count"], entry["value"]) for entry in entries(path)] == [("frames", 7)]


def test_full_disk_does_not_stop_the_work() -> None:
    journal = JournalTelemetry(Path("/dev/full"), flush_seconds=0.01)
    with journal.step("decode", "v"):
        journal.count("frames", 1, "v")
    journal.flush()
    journal.close()
