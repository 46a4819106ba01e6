"""What is told of reports: the last of each run, from the start, and never more than is asked for."""

import io
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.errors import Unavailable
from gim.evaluation.protocols import protocol_named
from gim.evaluation.scores import Score
from gim.records import Teacher
from gim.runtime.logs import make_log
from gim.runtime.scoreboard import LastReported, Reported, Scoreboard, report_levels
from gim.stages.evaluate import EvaluationReport


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def telemetry() -> PrometheusTelemetry:
    return PrometheusTelemetry("evaluator")


def report_of(
    run_id: str, step: int = 1, benchmark: str = "room-0a1b2c3d", auc: float = 50.0, matcher: str = "xfeat"
) -> EvaluationReport:
    return EvaluationReport(
        run_id=run_id,
        step=step,
        dataset_id="",
        checkpoint="",
        teacher=Teacher(matcher, "Apache-2.0"),
        settings_id="00000000",
        benchmark=benchmark,
        protocol=protocol_named("gim"),
        score=Score(
            num_pairs=100,
            num_failures=7,
            auc={"5": auc, "10": auc + 10, "20": auc + 20},
            spread={},
            interval={},
            precision_before=0,
            precision_after=0,
        ),
        median_matches=1.0,
        pairs=[],
    )


def put(store: FileStore, report: EvaluationReport, *, at_ms: int | None = None) -> str:
    """Store a report; with the time at which a service would have said that it is the run's last."""
    key = keys.evaluation_report(report.run_id, report.step, report.benchmark)
    store.put(key, codecs.to_json(report))
    if at_ms is not None:
        store.put(keys.last_reported(report.run_id), codecs.to_json(LastReported(at_ms)))
    return key


def shown(telemetry: PrometheusTelemetry) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in telemetry.exposition()[0].decode().splitlines())
    return {name: float(value) for name, _, value in lines if name.startswith("gim_zeb_")}


def runs_shown(telemetry: PrometheusTelemetry) -> set[str]:
    return {name.split('run_id="')[1].split('"')[0] for name in shown(telemetry)}


def test_reports_of_the_store_are_told_at_the_start(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    put(store, report_of("run-1", 5, auc=40))
    put(store, report_of("run-1", 10, auc=60))
    put(store, report_of("run-1", 10, benchmark="hall-00000000", auc=20))
    put(store, report_of("run-2", 3, auc=70, matcher="loftr"))
    Scoreboard(store, telemetry).refresh()
    run = 'method="xfeat",run_id="run-1"'
    found = shown(telemetry)
    assert found[f'gim_zeb_auc{{dataset="room",{run},threshold_deg="5"}}'] == 60
    assert found[f'gim_zeb_auc{{dataset="hall",{run},threshold_deg="20"}}'] == 40
    assert found[f'gim_zeb_auc_mean{{{run},threshold_deg="10"}}'] == (70 + 30) / 2
    assert found[f'gim_zeb_step{{dataset="room",{run}}}'] == 10
    assert found[f'gim_zeb_pairs{{dataset="hall",{run}}}'] == 100
    assert found[f'gim_zeb_failures{{dataset="hall",{run}}}'] == 7
    # On the room, the one benchmark that both have.
    assert found[f"gim_zeb_rank{{{run}}}"] == 2
    assert found['gim_zeb_rank{method="loftr",run_id="run-2"}'] == 1
    assert len(found) == 3 * 3 + 2 * 3 + 2 + 3 * 3


def test_a_new_report_takes_the_place_of_the_old(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    board = Scoreboard(store, telemetry)
    board.add(report_of("run-1", 5, auc=40))
    board.add(report_of("run-1", 10, auc=60))
    board.add(report_of("run-1", 7, auc=50))  # a late one, of an earlier step
    name = 'gim_zeb_auc{dataset="room",method="xfeat",run_id="run-1",threshold_deg="5"}'
    assert shown(telemetry)[name] == 60
    board.add(report_of("run-1", 10, auc=61))  # made anew, by another protocol
    assert shown(telemetry)[name] == 61


def test_another_process_sees_what_came_into_the_store(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    board = Scoreboard(store, telemetry)
    board.refresh()
    assert shown(telemetry) == {}
    put(store, report_of("run-1", 5))
    board.refresh()
    put(store, report_of("run-1", 9))
    board.refresh()
    assert shown(telemetry)['gim_zeb_step{dataset="room",method="xfeat",run_id="run-1"}'] == 9


def test_looking_again_reads_nothing(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    put(store, report_of("run-1", 5))
    board = Scoreboard(store, telemetry)
    board.refresh()
    before = shown(telemetry)
    store.get = lambda key: pytest.fail(f"read {key}")  # type: ignore[method-assign]
    board.refresh()
    assert shown(telemetry) == before


def test_only_the_last_runs_are_shown_and_old_series_are_gone(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    for number, at_ms in enumerate((300, 100, 500, 200, 400)):
        put(store, report_of(f"run-{number}", auc=number), at_ms=at_ms)
    put(store, report_of("by-hand"))  # by the command: nobody knows when
    read: list[str] = []
    get = store.get
    store.get = lambda key: read.append(key) or get(key)  # type: ignore[method-assign, func-returns-value]
    board = Scoreboard(store, telemetry, max_runs=2, clock=lambda: 0.6)
    board.refresh()
    assert runs_shown(telemetry) == {"run-2", "run-4"}
    assert {key.split("/")[1] for key in read if key.endswith("/report.json")} == {"run-2", "run-4"}
    board.add(report_of("run-9"))
    assert runs_shown(telemetry) == {"run-2", "run-9"}
    board.add(report_of("run-2", 8))
    board.add(report_of("run-8"))
    assert runs_shown(telemetry) == {"run-2", "run-8"}


def test_the_last_run_is_known_after_a_restart(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    board = Scoreboard(store, telemetry)
    for run_id, seconds in (("b", 1.0), ("c", 3.0), ("a", 2.0)):
        put(store, report_of(run_id))
        board.clock = lambda seconds=seconds: seconds  # type: ignore[misc]
        board.add(report_of(run_id))
    again = PrometheusTelemetry("evaluator")
    Scoreboard(store, again, max_runs=2).refresh()
    assert runs_shown(again) == {"a", "c"}


@pytest.mark.parametrize("is_own", [True, False])
def test_a_run_that_comes_back_brings_all_its_benchmarks(
    store: FileStore, telemetry: PrometheusTelemetry, is_own: bool
) -> None:
    for benchmark in ("room-00000000", "hall-00000000"):
        put(store, report_of("back", benchmark=benchmark), at_ms=1)
    put(store, report_of("other"), at_ms=2)
    board = Scoreboard(store, telemetry, max_runs=1)
    board.refresh()
    assert runs_shown(telemetry) == {"other"}
    put(store, report_of("back", 2, benchmark="room-00000000"))
    if is_own:
        board.add(report_of("back", 2, benchmark="room-00000000"))
    else:
        board.refresh()
    steps = {name.split('"')[1]: step for name, step in shown(telemetry).items() if name.startswith("gim_zeb_step")}
    assert steps == {"room": 2, "hall": 1}
    assert runs_shown(telemetry) == {"back"}


def test_a_damaged_report_is_said_once_and_the_others_are_shown(
    store: FileStore, telemetry: PrometheusTelemetry
) -> None:
    torn = put(store, report_of("torn"))
    store.put(torn, store.get(torn)[:100])
    older = put(store, report_of("older"))
    store.put(older, store.get(older).replace(b'"schema":1', b'"schema":0'))
    moved = keys.evaluation_report("moved", 1, "room-0a1b2c3d")
    store.put(moved, codecs.to_json(report_of("whole")))
    put(store, report_of("whole"))
    store.put("reports/whole/notes.txt", b"no report")
    store.put("reports/whole/later/room/report.json", b"no step")
    stream = io.StringIO()
    board = Scoreboard(store, telemetry, make_log(stream, "json"))
    board.refresh()
    put(store, report_of("whole", 2))
    board.refresh()
    assert runs_shown(telemetry) == {"whole"}
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sorted((line["event"], line["key"]) for line in said) == [
        ("report_skipped", key) for key in sorted((torn, older, moved))
    ]
    words = {line["key"]: line["message"] for line in said}
    assert "not JSON" in words[torn]
    assert "another version" in words[older]


def test_a_report_that_vanishes_meanwhile_is_none(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    gone = put(store, report_of("gone"))
    put(store, report_of("there"))
    listed = list(store.list("reports/"))
    store.delete(gone)
    store.list = lambda prefix="": iter(listed)  # type: ignore[method-assign]
    Scoreboard(store, telemetry).refresh()
    assert runs_shown(telemetry) == {"there"}


def test_a_store_that_is_away_is_waited_for_at_the_start_only(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    def away(_: str = "") -> Iterator[str]:
        raise Unavailable("the store is away")

    put(store, report_of("run-1"))
    there = store.list
    store.list = away  # type: ignore[method-assign]
    board = Scoreboard(store, telemetry)
    with pytest.raises(Unavailable):
        board.refresh()
    board.refresh_quietly()
    store.list = there  # type: ignore[method-assign]
    board.refresh_quietly()
    assert runs_shown(telemetry) == {"run-1"}


def test_many_threads_lose_no_report(store: FileStore, telemetry: PrometheusTelemetry) -> None:
    board = Scoreboard(store, telemetry, max_runs=100)

    def work(first: int) -> None:
        for number in range(first, first + 5):
            report = report_of(f"run-{number}")
            put(store, report)
            board.add(report)
            board.refresh()

    threads = [threading.Thread(target=work, args=[10 * index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs_shown(telemetry)) == 20


def levels_of(*reported: Reported) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    return report_levels(reported)


SHOWN = Reported.of(report_of("run-1"))


def test_two_versions_of_a_benchmark_go_by_their_ids() -> None:
    other = replace(SHOWN, run_id="run-2", benchmark="room-ffffffff")
    third = replace(SHOWN, benchmark="zeb-kitti-01234567")
    names = {labels["dataset"] for labels, _ in levels_of(SHOWN, other, third)["zeb_auc"]}
    assert names == {"room-0a1b2c3d", "room-ffffffff", "zeb-kitti"}


def test_without_a_common_benchmark_there_is_no_rank() -> None:
    other = replace(SHOWN, run_id="run-2", benchmark="hall-00000000")
    levels = levels_of(SHOWN, other)
    assert levels["zeb_rank"] == []
    assert len(levels["zeb_auc_mean"]) == 6


def test_equal_scores_share_their_rank() -> None:
    others = [replace(SHOWN, run_id=f"run-{number}", auc={"5": auc}) for number, auc in ((2, 50.0), (3, 80.0))]
    ranks = {labels["run_id"]: rank for labels, rank in levels_of(SHOWN, *others)["zeb_rank"]}
    assert ranks == {"run-3": 1, "run-1": 2.5, "run-2": 2.5}


def test_nothing_is_told_of_no_reports() -> None:
    assert all(levels == [] for levels in levels_of().values())
    assert len(levels_of()) == 6
