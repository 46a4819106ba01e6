"""What a simulation found."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gim.simulation.limits import Part, demand_of, lag_needed, leading_limit, leading_stages, parallel_pods, parts_of
from gim.simulation.messages import SHARED, Floats
from gim.simulation.pipeline import Pipeline, Stage
from gim.simulation.plan import Plan, label_group

_DAY = 86400.0
_GIGABYTE = 1e9
_HELD_BACK = 0.05  # of the time: what is less is no reason
_UNEVEN = 0.1  # of the pods: what is less is not told


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage, over the time after the warm-up."""

    stage: str
    pods: float  # on the mean
    gpus: float  # on the mean
    hours_per_day: float  # of video, done with; 0 for what is not of videos
    busy_share: float  # of the pods' time
    gpu_idle_share: float | None  # of the GPUs' time; None without GPUs
    lag_mean: float  # messages not done with
    lag_max: float
    lag_end: float
    failures: int
    lost_share: float  # of the busy time: work that was begun and had to be done again
    rebalancing_share: float  # of the time


@dataclass(frozen=True, slots=True)
class PartResult:
    """One part that could saturate."""

    part: str
    size: float | None  # None: without limit
    unit: str
    used_share: float | None  # of its size, in the simulation
    limit_hours_per_day: float | None  # of video, that it carries by itself; None: without limit
    needed: float  # of it, for what the matchers' pods could label


@dataclass(frozen=True, slots=True)
class Cost:
    """What is paid, by the plan's prices."""

    currency: str
    gpus_per_day: float
    cores_per_day: float
    per_video_hour: float | None  # of both; None when no video came to its end
    storing_a_day_per_month: float  # what a day writes, kept for a month


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a plan, over the time after the warm-up."""

    gpus: float  # of the matchers, on the mean
    video_hours_per_day: float  # that became pairs
    videos_per_day: float
    matchers_limit_hours_per_day: float  # that the leading matchers could label, were nothing else short
    asked_hours_per_day: float | None  # None: always more than could be taken, or all at once
    hours_until_done: float | None  # of all that was asked for at once; None: it was not so, or they were not done
    gpu_idle_share: float | None
    seconds_to_pairs: Mapping[str, float]  # from a downloader's taking a video to its pairs: p50, p95
    held_back_share: float  # of the time in which no video was begun, since labels lagged behind
    max_label_lag: int
    max_label_lag_needed: int
    stored_bytes_per_day: float
    days_until_full: float | None  # of an empty store; None: without limit
    stages: tuple[StageResult, ...]
    parts: tuple[PartResult, ...]
    saturates_first: str
    remarks: tuple[str, ...]
    cost: Cost | None
    series: Mapping[str, tuple[float, ...]]  # hours; lag and pods by stage


def simulate(plan: Plan) -> Result:
    """Simulate a plan.

    Raises:
        ConfigError: see `Plan.check`.
    """
    pipeline = Pipeline(plan)
    if plan.videos.number:
        before = _Counts.of(pipeline)
        done = pipeline.run_until_done(plan.hours * 3600.0)
        return _Telling(plan, pipeline, before, done).result()
    pipeline.run(plan.warm_up_hours * 3600.0)
    before = _Counts.of(pipeline)
    pipeline.run(plan.hours * 3600.0)
    return _Telling(plan, pipeline, before, None).result()


@dataclass(frozen=True, slots=True)
class _Counts:
    """All counts at one moment."""

    seconds: float
    stages: Mapping[str, Mapping[str, float]]
    units: Floats
    videos: int
    held_back: float

    @classmethod
    def of(cls, pipeline: Pipeline) -> "_Counts":
        stages = {name: stage.counts() for name, stage in pipeline.stages.items()}
        return cls(pipeline.agenda.now, stages, pipeline.units_done(), pipeline.num_videos, pipeline.held_back())


class _Telling:
    """Turns what was counted from a moment until now into a result."""

    def __init__(self, plan: Plan, pipeline: Pipeline, before: _Counts, done: float | None) -> None:
        self._plan, self._pipeline, self._before, self._done = plan, pipeline, before, done
        self._after = _Counts.of(pipeline)
        self._pods = plan.pods_plans()
        self._seconds = self._after.seconds - before.seconds
        self._demand = demand_of(plan)
        self._parts = parts_of(plan, self._demand)
        self._first_record = math.ceil(before.seconds / plan.record_seconds)

    def result(self) -> Result:
        plan, demand = self._plan, self._demand
        stages = tuple(self._stage(stage) for stage in self._pipeline.stages.values())
        by_name = {stage.stage: stage for stage in stages}
        matchers = [by_name[label_group(name)] for name in plan.matchers]
        gpus = sum(stage.gpus for stage in matchers)
        idle = sum(stage.gpus * (stage.gpu_idle_share or 0.0) for stage in matchers)
        hours = by_name["propagate"].hours_per_day
        could = leading_limit(plan, self._parts)
        units = (self._after.units - self._before.units) / self._seconds
        stored = float(units[SHARED.index("store bytes written")]) * _DAY
        first = min(self._parts, key=lambda part: part.limit_hours)
        capacity = plan.store.capacity_bytes
        held_back = (self._after.held_back - self._before.held_back) / self._seconds
        needed_lag = lag_needed(plan, demand, could)
        return Result(
            gpus=gpus,
            video_hours_per_day=hours,
            videos_per_day=(self._after.videos - self._before.videos) / self._seconds * _DAY,
            matchers_limit_hours_per_day=could,
            asked_hours_per_day=plan.videos.per_day * demand.video_hours or None,
            hours_until_done=None if self._done is None else self._done / 3600.0,
            gpu_idle_share=idle / gpus if gpus else None,
            seconds_to_pairs=self._quantiles(),
            held_back_share=held_back,
            max_label_lag=plan.downloader.max_label_lag,
            max_label_lag_needed=needed_lag,
            stored_bytes_per_day=stored,
            days_until_full=capacity / stored if capacity and stored else None,
            stages=stages,
            parts=tuple(self._part(part, could, units) for part in self._parts),
            saturates_first=first.name,
            remarks=tuple(self._remarks(stages, first, hours, held_back, needed_lag)),
            cost=self._cost(hours, stored),
            series=self._series(),
        )

    def _count(self, stage: str, name: str) -> float:
        return self._after.stages[stage][name] - self._before.stages[stage][name]

    def _stage(self, stage: Stage) -> StageResult:
        def count(name: str) -> float:
            return self._count(stage.name, name)

        held, busy = count("held_seconds"), count("busy_seconds")
        gpu_seconds = held * stage.plan.gpus
        lags = stage.lags[self._first_record :] or [stage.group.lag]
        return StageResult(
            stage=stage.name,
            pods=held / self._seconds,
            gpus=gpu_seconds / self._seconds,
            hours_per_day=count("video_seconds") / 3600.0 / self._seconds * _DAY,
            busy_share=busy / held if held else 0.0,
            gpu_idle_share=1 - count("device_seconds") / gpu_seconds if gpu_seconds else None,
            lag_mean=float(np.mean(lags)),
            lag_max=max(lags),
            lag_end=stage.group.lag,
            failures=round(count("failures")),
            lost_share=count("lost_seconds") / busy if busy else 0.0,
            rebalancing_share=count("rebalancing_seconds") / self._seconds,
        )

    def _part(self, part: Part, could: float, units: Floats) -> PartResult:
        leading, stage = leading_stages(self._plan), part.stage
        used: float | None = None
        if part.name in SHARED:
            used = float(units[SHARED.index(part.name)]) / part.size if math.isfinite(part.size) else None
        elif part.unit == "pods":
            held = self._count(stage, "held_seconds")
            used = self._count(stage, "busy_seconds") / held if held else None
        else:
            used = self._count(stage, "busy_seconds") / self._seconds / part.size
        is_limited = math.isfinite(part.limit_hours)
        return PartResult(
            part=part.name,
            size=part.size if math.isfinite(part.size) else None,
            unit=part.unit,
            used_share=used,
            limit_hours_per_day=part.limit_hours if is_limited else None,
            needed=self._pods[part.stage].most_pods if part.stage in leading else part.needed(could),
        )

    def _quantiles(self) -> dict[str, float]:
        ended = self._pipeline.seconds_to_pairs[self._before.videos :]
        return {f"p{percent}": float(np.percentile(ended, percent)) for percent in (50, 95)} if len(ended) else {}

    def _remarks(
        self, stages: tuple[StageResult, ...], first: Part, hours: float, held_back: float, needed_lag: int
    ) -> list[str]:
        remarks = []
        asked = self._plan.videos.per_day * self._demand.video_hours or math.inf
        limit = self._plan.downloader.max_label_lag
        if held_back > _HELD_BACK and hours < 0.9 * min(first.limit_hours, asked) and limit < needed_lag:
            remarks.append(
                f"downloaders were held back for {held_back:.0%} of the time and matchers ran dry meanwhile: "
                f"downloader.max_label_lag = {limit}, and {needed_lag} segments are worked off before more can come"
            )
        for stage in stages:
            remarks += self._of_partitions(stage.stage)
            if stage.rebalancing_share > _HELD_BACK:
                remarks.append(
                    f"{stage.stage} took nothing for {stage.rebalancing_share:.0%} of the time, while its group "
                    f"rebalanced: {stage.failures} failures, and each is waited for until its session has run out"
                )
            if stage.lost_share > _HELD_BACK:
                remarks.append(f"{stage.stage} did {stage.lost_share:.0%} of its work for nothing: it was interrupted")
        if self._plan.videos.number and self._done is None:
            remarks.append(f"{self._after.videos} of {self._plan.videos.number} videos became pairs: see hours")
        if asked < first.limit_hours:
            remarks.append(f"all that is asked for can be done: {asked:,.1f} hours of video a day")
        return remarks

    def _of_partitions(self, stage: str) -> Iterator[str]:
        pods, partitions = self._pods[stage].most_pods, self._plan.kafka.partitions
        worth = parallel_pods(pods, partitions)
        if worth < (1 - _UNEVEN) * pods:
            yield (
                f"{partitions} partitions keep {worth:.4g} of the {pods} pods of {stage} busy: "
                f"kafka.partitions={max(-(-partitions // pods), 1) * pods} keeps all"
            )

    def _cost(self, hours: float, stored: float) -> Cost | None:
        prices = self._plan.prices
        if not (prices.gpu_hour or prices.core_hour or prices.gigabyte_month):
            return None
        gpus = cores = 0.0
        for name, stage in self._pods.items():
            pod_hours = self._count(name, "held_seconds") / self._seconds * 24
            gpus += pod_hours * stage.gpus * prices.gpu_hour
            cores += pod_hours * stage.cores * prices.core_hour
        return Cost(
            currency=prices.currency,
            gpus_per_day=gpus,
            cores_per_day=cores,
            per_video_hour=(gpus + cores) / hours if hours else None,
            storing_a_day_per_month=stored / _GIGABYTE * prices.gigabyte_month,
        )

    def _series(self) -> dict[str, tuple[float, ...]]:
        series = {"hours": tuple(time / 3600.0 for time in self._pipeline.record_times)}
        for name, stage in self._pipeline.stages.items():
            series[f"lag {name}"] = tuple(stage.lags)
            series[f"pods {name}"] = tuple(float(pods) for pods in stage.pods)
        return series
