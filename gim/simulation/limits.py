"""What each part could carry by itself, and how much of it is needed: the utilisation law, without any simulation.

Work comes in proportion to the video taken in. So a part that an hour of video costs W seconds (or units), and that can
do C of them a second, carries at most 86,400 C / W hours of video a day. The part with the smallest such limit is the
one that saturates first; what is simulated comes near to it and, once its queues have settled, not above it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gim.simulation.costs import ingest_costs, label_costs, propagate_costs, share_costs
from gim.simulation.messages import SHARED, Floats
from gim.simulation.pipeline import capacities
from gim.simulation.plan import INGEST, PROPAGATE, Plan, label_group
from gim.simulation.videos import draw_seconds, num_samples, num_segments, split

_DAY = 86400.0
_SAMPLE = 4096  # videos that means are taken of
USED_SHARE = 0.85  # of a part that is made large enough: what comes by chance needs the rest


@dataclass(frozen=True, slots=True)
class Demand:
    """What an hour of video needs."""

    video_hours: float  # of a mean video
    segments: float
    written_bytes: float
    work: Mapping[str, float]  # pod seconds, by stage
    device: Mapping[str, float]  # GPU seconds, by stage
    units: Floats  # [len(SHARED)]
    mean_ingest_seconds: float  # of a video


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that can be the first to saturate."""

    name: str
    stage: str  # whose; empty: all stages'
    size: float  # pods, partitions, or units a second
    unit: str
    work: float  # pod seconds or units, for an hour of video
    limit_hours: float  # of video a day that it carries by itself

    def needed(self, hours_per_day: float) -> float:
        """The size that carries so many hours of video a day with some room left; of partitions, one for each pod."""
        size = hours_per_day * self.work / _DAY / USED_SHARE
        return size if self.unit == "/s" else math.ceil(size)


def demand_of(plan: Plan) -> Demand:
    """What an hour of video needs on the mean, of the plan's distribution of lengths."""
    rng = np.random.default_rng(0)  # the same whatever the seed of the simulation: so are the limits
    seconds = draw_seconds(plan.videos, rng, 1 if _is_one_length(plan) else _SAMPLE)
    samples = num_samples(plan.videos, seconds)
    hours = float(seconds.sum()) / 3600.0
    segments = split(plan.videos, samples)
    number = num_segments(plan.videos, samples)
    costs = {INGEST: ingest_costs(plan, seconds, samples), PROPAGATE: propagate_costs(plan, samples, number)}
    for name, matcher in plan.matchers.items():
        costs[label_group(name)] = label_costs(plan, matcher, segments, samples)
    units = np.sum([each.units.sum(axis=0) for each in costs.values()], axis=0) / hours
    return Demand(
        video_hours=hours / len(seconds),
        segments=float(number.sum()) / hours,
        written_bytes=float(units[SHARED.index("store bytes written")]),
        work={name: float(each.work.sum()) / hours for name, each in costs.items()},
        device={name: float(each.device.sum()) / hours for name, each in costs.items()},
        units=units,
        mean_ingest_seconds=float(costs[INGEST].work.mean()),
    )


def parts_of(plan: Plan, demand: Demand) -> list[Part]:
    """Every part with its limit, in the order of the pipeline."""
    return [*_pod_parts(plan, demand), *_shared_parts(plan, demand)]


def _pod_parts(plan: Plan, demand: Demand) -> Iterator[Part]:
    for name, stage in plan.pods_plans().items():
        work = demand.work.get(name, 0.0)
        pods = stage.most_pods
        there = (
            stage.mtbf_hours * 3600.0 / (stage.mtbf_hours * 3600.0 + stage.restart_seconds) if stage.mtbf_hours else 1.0
        )
        yield Part(f"pods of {name}", name, pods, "pods", work / there, _limit(pods * there, work))
        if work:
            at_work = parallel_pods(pods, plan.kafka.partitions)
            limit = _limit(at_work * there, work)
            yield Part(f"partitions of {name}", name, plan.kafka.partitions, "partitions", work / there, limit)


def _shared_parts(plan: Plan, demand: Demand) -> Iterator[Part]:
    evaluation = np.zeros(len(SHARED))
    if plan.has_evaluations:
        evaluation = share_costs(plan.evaluator).units.sum(axis=0) * plan.evaluator.checkpoints_per_day / _DAY
    for place, (name, capacity) in enumerate(zip(SHARED, capacities(plan).tolist(), strict=True)):
        work = float(demand.units[place])
        left = max(capacity - float(evaluation[place]), 0.0)
        yield Part(name, "", capacity, "/s", work, _limit(left, work))


def parallel_pods(pods: int, partitions: int) -> float:
    """How many pods' worth of work a group does when all partitions are used alike.

    A pod of several partitions does their work alone: of 13 pods on 24 partitions eleven have two, and two have one.
    All partitions get on at the pace of those eleven, so that the group is worth 12 pods.
    """
    if not pods:
        return 0.0
    return partitions / math.ceil(partitions / pods)


def leading_stages(plan: Plan) -> list[str]:
    """Those that all others are there for: the matchers on GPUs; all matchers where none is on a GPU."""
    return [label_group(name) for name, matcher in plan.matchers.items() if matcher.gpus] or [
        label_group(name) for name in plan.matchers
    ]


def leading_limit(plan: Plan, parts: Sequence[Part]) -> float:
    """Hours of video a day that the pods of the leading stages could label, were there nothing else."""
    leading = leading_stages(plan)
    return min(part.limit_hours for part in parts if part.unit == "pods" and part.stage in leading)


def lag_needed(plan: Plan, demand: Demand, hours_per_day: float) -> int:
    """Segments that have to wait for no matcher to run dry before further videos have been taken in."""
    seconds = demand.mean_ingest_seconds + plan.downloader.pressure_seconds
    return math.ceil(hours_per_day * demand.segments / _DAY * seconds / USED_SHARE)


def fitted(plan: Plan) -> Plan:
    """The plan with as many pods of all other stages, and as many partitions, as keep the leading stages busy.

    Servers that all share are left as they are: they are not made larger by a number in a file.
    """
    demand = demand_of(plan)
    parts = parts_of(plan, demand)
    hours, leading = leading_limit(plan, parts), leading_stages(plan)
    held = {name: stage.most_pods for name, stage in plan.pods_plans().items()}
    needed = _pods_needed(parts, hours)
    pods = {name: each if name in leading else max(each, needed[name]) for name, each in held.items()}
    return _with_pods(plan, pods, lag_needed(plan, demand, hours))


def sized(plan: Plan, videos_per_day: float) -> Plan:
    """The plan with so many videos asked for a day, and the pods and partitions that they need.

    Evaluators and servers that all share are left as they are.
    """
    plan = replace(plan, videos=replace(plan.videos, per_day=videos_per_day, number=0))
    demand = demand_of(plan)
    hours = videos_per_day * demand.video_hours
    return _with_pods(plan, _pods_needed(parts_of(plan, demand), hours), lag_needed(plan, demand, hours))


def _pods_needed(parts: Sequence[Part], hours_per_day: float) -> dict[str, int]:
    """By stage."""
    return {part.stage: max(1, int(part.needed(hours_per_day))) for part in parts if part.unit == "pods"}


def _with_pods(plan: Plan, pods: Mapping[str, int], label_lag: int) -> Plan:
    """The plan with at most so many pods, and with the partitions and the limit of lag that go with them."""
    plan = replace(
        plan,
        downloader=replace(
            plan.downloader.with_most(pods[INGEST]), max_label_lag=max(plan.downloader.max_label_lag, label_lag)
        ),
        matchers={name: matcher.with_most(pods[label_group(name)]) for name, matcher in plan.matchers.items()},
        propagator=plan.propagator.with_most(pods[PROPAGATE]),
    )
    # A whole number of partitions for each pod of the largest group, and two: the share of a lost one goes to many.
    largest = max(stage.most_pods for stage in plan.pods_plans().values())
    each = max(2, math.ceil(plan.kafka.partitions / largest))
    return replace(plan, kafka=replace(plan.kafka, partitions=each * largest))


def _limit(capacity: float, work: float) -> float:
    return capacity * _DAY / work if work > 0 else math.inf


def _is_one_length(plan: Plan) -> bool:
    return not plan.videos.lengths_seconds and not plan.videos.spread
