"""What a cluster of more GPUs than are here would do, by `gim simulate`; and the bytes that its plans reckon with."""

import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Lock

from bench.findings import Findings, say
from bench.workspace import Workspace
from gim import codecs, keys
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.cli.simulate import overview_row, part_size, size_row
from gim.ports.telemetry import NullTelemetry
from gim.records import FrameManifest, PairsManifest
from gim.runtime.observed_store import ObservedStore
from gim.runtime.outcome import Begun, Outcome
from gim.runtime.threads import one_thread_each
from gim.runtime.wiring import build_stages
from gim.runtime.worker import drain
from gim.settings import Settings
from gim.simulation.limits import fitted, sized
from gim.simulation.messages import SHARED
from gim.simulation.pipeline import Pipeline
from gim.simulation.plan import Plan, with_gpus
from gim.simulation.plan_files import read_plan
from gim.simulation.result import Result, simulate
from gim.wire import topics
from gim.wire.v1 import events_pb2

PARTS = ("stored", "gpus", "sizes")
_VIDEO = "city_dashcam_60s"
_GPUS = (10, 100, 1000)
_VIDEOS_PER_DAY = (100, 1000, 10000)
_DAY = 86400.0
_NETWORK = "network"  # the matcher of the plan `gpu`
_ASSUMED = {"frame_seconds": 0.01, "pair_seconds": 0.03}  # of a dense network on a GPU; none was at hand
_PRICES = ("prices.gpu_hour=2", "prices.core_hour=0.04", "prices.gigabyte_month=0.02")


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Label one video for its bytes; simulate a day of many GPUs, and of many videos."""
    findings = Findings("simulation")
    hours = workspace.chosen(quick=2, normal=24)
    times = ", ".join(f"{name} = {seconds}" for name, seconds in _ASSUMED.items())
    prices = ", ".join(price.removeprefix("prices.") for price in _PRICES)
    findings.notes.append(
        f"assumed: {times} of a dense network, as no GPU was at hand; prices in USD: {prices}; else as in "
        "gim/simulation/plans, with the source of each number"
    )
    if "stored" in parts:
        for video in workspace.videos((_VIDEO,)):
            _measure_stored(findings, workspace, video)
    if "gpus" in parts:
        _simulate_gpus(findings, hours)
    if "sizes" in parts:
        _simulate_sizes(findings, hours)
    return findings


class _StoreUse(NullTelemetry):
    """What is asked of the store while a stage is at work: requests, and bytes both ways."""

    def __init__(self) -> None:
        self.by_stage: dict[str, Counter[str]] = {}
        self._now: Counter[str] = Counter()
        self._lock = Lock()  # frames are stored by several threads

    def count(self, name: str, value: float, video_id: str, **labels: str) -> None:  # noqa: ARG002
        if name in ("store_requests", "store_bytes"):
            with self._lock:
                self._now[labels.get("direction", name)] += int(value)

    def observed(self, told: Begun | Outcome) -> None:
        """A message was taken or is done with."""
        if isinstance(told, Outcome):
            self.by_stage.setdefault(told.begun.stage, Counter()).update(self._now)
        self._now.clear()


def _measure_stored(findings: Findings, workspace: Workspace, video: Path) -> None:
    """One video by all stages in this process; what it leaves in the store, and what they ask of it."""
    say(f"{video.name}, for what it leaves in the store")
    folder, use = workspace.folder / "stored", _StoreUse()
    settings = replace(Settings.load(["run.keep_features=true"], environ={}), store=str(folder))
    with closing(SqliteBus(workspace.folder / "bus")) as bus, closing(FileStore(folder)) as files:
        bus.publish(topics.INGEST, str(video), events_pb2.VideoRequested(source=str(video)).SerializeToString())
        bus.flush()
        with ThreadPoolExecutor(2) as executor, one_thread_each():
            stages = build_stages(settings, ObservedStore(files, use), use, executor, 2)
            report = drain(stages, bus, telemetry=use, observe=use.observed)
    assert not report.dead_letters, report.dead_letters
    store = FileStore(folder)
    num_bytes: Counter[str] = Counter()
    for key in store.list(""):
        kind = key.split("/")[0]
        is_manifest = key.endswith("/manifest.json")
        num_bytes[f"{kind} manifest" if is_manifest else kind] += store.size(key)
    (video_id,) = {key.split("/")[1] for key in store.list("videos/")}
    (frames,) = (key for key in store.list(keys.frames_prefix(video_id)) if key.endswith("/manifest.json"))
    (pairs,) = (key for key in store.list(keys.pairs_prefix(video_id)) if key.endswith("/manifest.json"))
    manifest = codecs.from_json(FrameManifest, store.get(frames))
    result = codecs.from_json(PairsManifest, store.get(pairs))
    samples, base_pairs = len(manifest.frame_indices), sum(result.funnel.pairs_attempted.values())
    rows = [
        ("source, a second", num_bytes["videos"], num_bytes["videos"] / manifest.duration_seconds),
        ("frames, each", num_bytes["frames"], num_bytes["frames"] / samples),
        ("manifest of the frames, a frame", num_bytes["frames manifest"], num_bytes["frames manifest"] / samples),
        ("features, a frame", num_bytes["features"], num_bytes["features"] / samples),
        ("labels, a base pair", num_bytes["labels"], num_bytes["labels"] / base_pairs),
        ("training pairs, each", num_bytes["pairs"], num_bytes["pairs"] / result.num_pairs),
    ]
    findings.add(f"Bytes of {_VIDEO} in the store", ("", "all", "per"), rows)
    used_share = result.funnel.frames_used / samples
    _compare_use(findings, use, manifest.duration_seconds, used_share, result.num_pairs / result.funnel.frames_used)


def _compare_use(findings: Findings, use: _StoreUse, seconds: float, used_share: float, kept_share: float) -> None:
    """What the stages asked of the store, beside what the plan `cpu` reckons with."""
    plan = read_plan("cpu", [f"videos.lengths_seconds={seconds}", "videos.number=1"])
    plan = replace(plan, videos=replace(plan.videos, used_share=used_share, kept_share=kept_share))
    pipeline = Pipeline(plan)
    pipeline.run_until_done(_DAY)
    rows = []
    for stage, name in {"ingest": "ingest", "label": "label-rootsift", "propagate": "propagate"}.items():
        planned = dict(zip(SHARED, pipeline.stages[name].group.units_done.tolist(), strict=True))
        real = use.by_stage[stage]
        rows.append(
            (name, real["in"] / 1e6, planned["store bytes read"] / 1e6, real["out"] / 1e6,
             planned["store bytes written"] / 1e6, real["store_requests"], round(planned["store requests"]))
        )  # fmt: skip
    findings.add(
        f"What the stages take of the store for {_VIDEO}",
        ("", "read MB", "by the plan", "written MB", "by the plan", "requests", "by the plan, with those of services"),
        rows,
    )
    read, planned_read = sum(row[1] for row in rows), sum(row[2] for row in rows)
    written, planned_written = sum(row[3] for row in rows), sum(row[4] for row in rows)
    findings.at_most("bytes read, the plan's beside the stages'", 100 * abs(planned_read / read - 1), 15, " %")
    findings.at_most("bytes written, the plan's beside the stages'", 100 * abs(planned_written / written - 1), 15, " %")


def _simulate_gpus(findings: Findings, hours: int) -> None:
    """Many GPUs: as the plan has its other parts, with all that they need, and with what is short next taken away."""
    plan = replace(_gpu_plan(), hours=float(hours))
    found: list[tuple[str, Plan, Result]] = []
    spent: dict[str, float] = {}  # processor seconds, of the largest
    for kind, change in _KINDS.items():
        for gpus in _GPUS:
            started, made = time.process_time(), change(with_gpus(plan, gpus))
            found.append((kind, made, _simulated(f"{hours} h of {gpus} GPUs, {kind}", made)))
            spent[kind] = time.process_time() - started
    findings.add(
        f"`gim simulate gpu --gpus {','.join(map(str, _GPUS))}`, {hours} h",
        ("plan", *overview_row(found[0][2])),
        [(kind, *overview_row(result).values()) for kind, _, result in found],
    )
    what = f"processor seconds to simulate {hours} h of {_GPUS[-1]} GPUs, fitted"
    findings.at_most(what, spent["fitted, any store"], 120)
    fitted_plan, result = next((own, result) for kind, own, result in reversed(found) if kind == "fitted")
    findings.add(
        f"What each part carries by itself, {_GPUS[-1]} GPUs, fitted",
        ("part", "it has", "hours of video a day", "GPUs it keeps busy", "needed for all"),
        _limit_rows(fitted_plan, result),
    )
    findings.notes += [f"{own.matchers[_NETWORK].pods} GPUs, {kind}: {remark}"
                       for kind, own, result in found for remark in result.remarks]  # fmt: skip


def _limit_rows(plan: Plan, result: Result) -> list[tuple[object, ...]]:
    """Every part, the first to saturate at the top; one that the plan sets no limit to, at the end."""
    hours_per_gpu = result.matchers_limit_hours_per_day / plan.matchers[_NETWORK].pods
    rows = []
    for part in sorted(result.parts, key=lambda part: part.limit_hours_per_day or math.inf):
        limit = part.limit_hours_per_day
        carried = (None, None) if limit is None else (round(limit), round(limit / hours_per_gpu))
        rows.append((part.part, part_size(part, part.size), *carried, part_size(part, part.needed)))
    return rows


def _simulate_sizes(findings: Findings, hours: int) -> None:
    """What numbers of videos a day need: the sizing table of docs/runbook.md."""
    for name, plan in {"cpu": read_plan("cpu", _PRICES), "gpu": _gpu_plan()}.items():
        plans = [sized(replace(plan, hours=float(hours)), number) for number in _VIDEOS_PER_DAY]
        rows = [size_row(own, _simulated(f"{own.videos.per_day:,.0f} videos a day, {name}", own)) for own in plans]
        findings.add(
            f"Sizing, `gim simulate {name} --videos-per-day {','.join(map(str, _VIDEOS_PER_DAY))}`, {hours} h",
            tuple(rows[0]),
            [tuple(row.values()) for row in rows],
        )


def _simulated(words: str, plan: Plan) -> Result:
    say(words)
    return simulate(plan)


def _gpu_plan() -> Plan:
    return read_plan(
        "gpu", [*(f"matchers.{_NETWORK}.{name}={seconds}" for name, seconds in _ASSUMED.items()), *_PRICES]
    )


def _with_any_store(plan: Plan) -> Plan:
    """Fitted, with a store that is never short."""
    plan = fitted(plan)
    return replace(plan, store=replace(plan.store, read_bytes_per_second=0.0, write_bytes_per_second=0.0))


def _failing(plan: Plan) -> Plan:
    """The same on nodes that are taken away: every pod fails once a day."""
    plan = _with_any_store(plan)
    return replace(
        plan,
        downloader=replace(plan.downloader, mtbf_hours=24.0),
        matchers={name: replace(matcher, mtbf_hours=24.0) for name, matcher in plan.matchers.items()},
        propagator=replace(plan.propagator, mtbf_hours=24.0),
    )


def _failing_soon_known(plan: Plan) -> Plan:
    plan = _failing(plan)
    return replace(plan, kafka=replace(plan.kafka, session_timeout_seconds=10.0))


_KINDS: dict[str, Callable[[Plan], Plan]] = {
    "as it is": lambda plan: plan,
    "fitted": fitted,
    "fitted, any store": _with_any_store,
    "fitted, any store, every pod fails once a day": _failing,
    "the same, sessions of 10 s": _failing_soon_known,
}
