"""What the last reports of a store say, as metrics: read at the start, so that no number waits for the next checkpoint.

Every evaluator shows the same, whichever of them wrote a report. Only the runs that were reported last are shown, for
each of them is a few dozen series.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from structlog.typing import FilteringBoundLogger

from gim import codecs, keys
from gim.errors import CorruptObject, GimError, KeyMissing
from gim.evaluation.comparison import mean_ranks
from gim.evaluation.scores import MAIN
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.runtime.logs import no_log
from gim.stages.evaluate import EvaluationReport

Levels = list[tuple[Mapping[str, str], float]]
_Place = tuple[str, str]  # run id and benchmark id


@dataclass(frozen=True, slots=True)
class LastReported:
    """When a service last reported on a run."""

    at_ms: int  # Unix milliseconds


@dataclass(frozen=True, slots=True)
class Reported:
    """What is shown of a report."""

    run_id: str
    step: int
    benchmark: str  # id
    method: str
    auc: Mapping[str, float]  # threshold in degrees -> percent
    num_pairs: int
    num_failures: int

    @classmethod
    def of(cls, report: EvaluationReport) -> "Reported":
        """The same without its pairs."""
        score, method = report.score, report.teacher.matcher
        return cls(report.run_id, report.step, report.benchmark, method, score.auc, score.num_pairs, score.num_failures)


@dataclass
class Scoreboard:
    """The newest report of each of the last runs on each benchmark. Safe to call from any thread."""

    store: Store
    telemetry: Telemetry
    log: FilteringBoundLogger = field(default_factory=no_log)
    max_runs: int = 10
    clock: Callable[[], float] = time.time  # Unix seconds

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._runs: list[str] = []  # ids of those shown, the last reported last
        self._reported: dict[_Place, Reported] = {}
        self._seen: set[str] = set()  # keys of reports

    def refresh(self) -> None:
        """Show what has come into the store, by whomever, since the last time; one listing where that is nothing.

        A report that is damaged or of another version is left out, and said in the log once.

        Raises:
            Unavailable: the store cannot be reached.
        """
        with self._guard:
            self._look()

    def refresh_quietly(self) -> None:
        """The same, for a thread that does it from time to time: a store that is away is met by the work itself."""
        with suppress(GimError):
            self.refresh()

    def add(self, report: EvaluationReport) -> None:
        """Show a report that has just been written, and note in the store that its run is the last one.

        Raises:
            Unavailable: the store cannot be reached.
        """
        mark = LastReported(int(1000 * self.clock()))
        self.store.put(keys.last_reported(report.run_id), codecs.to_json(mark))
        with self._guard:
            if report.run_id not in self._runs:  # it may have reports on other benchmarks
                prefix = keys.reports_prefix(report.run_id)
                self._seen = {key for key in self._seen if not key.startswith(prefix)}
                self._look()
            self._put_last(report.run_id)
            self._show(Reported.of(report))
            self._seen.add(keys.evaluation_report(report.run_id, report.step, report.benchmark))
            self._tell()

    def _look(self) -> None:
        there = {key: place for key in self.store.list(keys.reports_prefix()) if (place := _place_of(key))}
        new = {run_id for key, (run_id, _, _) in there.items() if key not in self._seen}
        entering = new.difference(self._runs)
        times = {run_id: self._reported_at(run_id) for run_id in new}
        for run_id in sorted(new, key=lambda run_id: (times[run_id], run_id)):
            self._put_last(run_id)
        newest: dict[_Place, int] = {}
        for key, (run_id, step, benchmark) in there.items():
            if run_id in self._runs and (run_id in entering or key not in self._seen):
                newest[run_id, benchmark] = max(step, newest.get((run_id, benchmark), 0))
        for (run_id, benchmark), step in newest.items():
            self._read(run_id, step, benchmark)
        self._seen = set(there)
        if new:
            self._tell()

    def _reported_at(self, run_id: str) -> int:
        with suppress(KeyMissing, CorruptObject):
            return codecs.from_json(LastReported, self.store.get(keys.last_reported(run_id))).at_ms
        return 0  # by a person's command, not by a service

    def _put_last(self, run_id: str) -> None:
        self._runs = [*(other for other in self._runs if other != run_id), run_id][-self.max_runs :]
        self._reported = {place: shown for place, shown in self._reported.items() if place[0] in self._runs}

    def _read(self, run_id: str, step: int, benchmark: str) -> None:
        key = keys.evaluation_report(run_id, step, benchmark)
        try:
            report = codecs.from_json(EvaluationReport, self.store.get(key))
            if (report.run_id, report.step, report.benchmark) != (run_id, step, benchmark):
                raise CorruptObject(f"of {report.run_id}, step {report.step}, {report.benchmark}")
        except KeyMissing:  # removed since it was listed
            return
        except CorruptObject as error:
            self.log.warning("report_skipped", key=key, message=str(error))
            return
        self._show(Reported.of(report))

    def _show(self, reported: Reported) -> None:
        place = (reported.run_id, reported.benchmark)
        if place not in self._reported or reported.step >= self._reported[place].step:
            self._reported[place] = reported

    def _tell(self) -> None:
        for name, levels in report_levels(self._reported.values()).items():
            self.telemetry.set_levels(name, levels)


def report_levels(reported: Iterable[Reported]) -> dict[str, Levels]:
    """What the metrics of reports say, by their name in the Telemetry port.

    A benchmark goes by its name where all shown are of one version of it, otherwise by its id. Means are over the
    benchmarks that a run has, ranks over those that all runs have.

    Args:
        reported: one for each run and benchmark.
    """
    shown = list(reported)
    dataset_of = _dataset_names({each.benchmark for each in shown})
    levels: dict[str, Levels] = {name: [] for name in _NAMES}
    auc: dict[tuple[str, str], dict[str, Mapping[str, float]]] = {}
    for each in shown:
        run = {"method": each.method, "run_id": each.run_id}
        about = {"dataset": dataset_of[each.benchmark], **run}
        levels["zeb_auc"] += [({**about, "threshold_deg": bound}, value) for bound, value in each.auc.items()]
        levels["zeb_pairs"].append((about, each.num_pairs))
        levels["zeb_failures"].append((about, each.num_failures))
        levels["zeb_step"].append((about, each.step))
        auc.setdefault((each.method, each.run_id), {})[each.benchmark] = each.auc
    for (method, run_id), own in auc.items():
        for bound in next(iter(own.values())):
            mean = float(np.mean([scores[bound] for scores in own.values()]))
            levels["zeb_auc_mean"].append(({"threshold_deg": bound, "method": method, "run_id": run_id}, mean))
    # Neither names of methods nor ids of runs hold a slash.
    main = {"/".join(run): {key: scores[MAIN] for key, scores in own.items()} for run, own in auc.items()}
    for joined, rank in mean_ranks(main).items():
        method, _, run_id = joined.partition("/")
        levels["zeb_rank"].append(({"method": method, "run_id": run_id}, rank))
    return levels


_NAMES = ("zeb_auc", "zeb_auc_mean", "zeb_rank", "zeb_pairs", "zeb_failures", "zeb_step")


def _dataset_names(benchmarks: Iterable[str]) -> dict[str, str]:
    """Benchmark id -> name; the id itself where another one has the same name."""
    ids = list(benchmarks)
    names = [benchmark.rpartition("-")[0] for benchmark in ids]
    return {each: name if name and names.count(name) == 1 else each for each, name in zip(ids, names, strict=True)}


def _place_of(key: str) -> tuple[str, int, str] | None:
    """Run id, step and benchmark id of a report's key; None for another key."""
    parts = key.split("/")
    if len(parts) != 5 or parts[4] != "report.json" or not parts[2].isdecimal():
        return None
    return parts[1], int(parts[2]), parts[3]
