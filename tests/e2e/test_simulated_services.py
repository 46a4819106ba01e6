"""A simulation with the times that services told of takes as long as they did, and lets as many segments wait."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from gim.simulation.measured import read_measured, with_measured
from gim.simulation.messages import SHARED
from gim.simulation.pipeline import Pipeline
from gim.simulation.plan import Plan
from gim.simulation.plan_files import read_plan
from gim.simulation.result import simulate
from tests.e2e.cluster import cluster, wait_for
from tests.e2e.commands import ROOT

CLIP, CLIP_SECONDS = ROOT / "gim/synthetic/clip/walk.mp4", 14.9
NUM_CLIPS, NUM_MATCHERS, PARTITIONS, SEGMENT_SAMPLES = 4, 2, 12, 8
SEEDS = range(20)  # keys fall into partitions by chance
WITHIN = 1.25  # of the time; the cores are everybody's
WAITING_WITHIN = 3  # segments


@dataclass(frozen=True)
class Course:
    """How the work on some videos went, in services or simulated."""

    seconds: float  # from the first message taken to the last one done with
    most_waiting: float  # segments, those in hand included
    matchers_busy: float  # share of their time


def course_of(lines: Iterable[Mapping[str, Any]], num_matchers: int) -> Course:
    """What the logs of all services tell of messages that were done with."""
    done = [line for line in lines if line["event"] == "message_done"]
    ends = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in done]
    seconds = max(ends) - min(end - line["seconds"] for end, line in zip(ends, done, strict=True))
    steps = {"ingest": lambda line: sum(line["published"].values()), "label": lambda _line: -1}
    changes = sorted(
        (end, steps[line["stage"]](line)) for end, line in zip(ends, done, strict=True) if line["stage"] in steps
    )
    busy = sum(line["seconds"] for line in done if line["stage"] == "label")
    return Course(seconds, max(accumulate(change for _, change in changes)), busy / num_matchers / seconds)


def measured_plan(metrics: str, sets: Sequence[str]) -> Plan:
    """The plan `cpu` with the times that metrics tell of; they are wall seconds, so that a pod is of one core."""
    stages = ("downloader", "matchers.rootsift", "propagator")
    plain = [f"{stage}.{text}" for stage in stages for text in ("cores=1", "mtbf_hours=0")]
    return with_measured(read_plan("cpu", [*plain, "record_seconds=1", *sets]), read_measured(metrics))


def simulated(plan: Plan) -> list[Course]:
    """Seed by seed."""
    courses = []
    for result in (simulate(replace(plan, seed=seed)) for seed in SEEDS):
        assert result.hours_until_done is not None, result.remarks
        (labels,) = (stage for stage in result.stages if stage.stage == "label-rootsift")
        courses.append(Course(3600 * result.hours_until_done, labels.lag_max, labels.busy_share))
    return courses


def simulated_requests(plan: Plan) -> float:
    """Requests of the store, of all stages together."""
    pipeline = Pipeline(plan)
    pipeline.run_until_done(3600.0 * plan.hours)
    return float(pipeline.units_done()[SHARED.index("store requests")])


def assert_alike(real: Course, courses: Sequence[Course], *, within: float = WITHIN) -> None:
    """Time and busy share within a factor, segments that wait give or take a few."""
    words = f"{real} and simulated {min(courses, key=lambda c: c.seconds)} to {max(courses, key=lambda c: c.seconds)}"
    seconds = [course.seconds for course in courses]
    assert min(seconds) / within < real.seconds < within * max(seconds), words
    waiting = [course.most_waiting for course in courses]
    assert min(waiting) - WAITING_WITHIN <= real.most_waiting <= max(waiting) + WAITING_WITHIN, words
    busy = [course.matchers_busy for course in courses]
    assert min(busy) / within < real.matchers_busy < within * max(busy), words


def copies(folder: Path) -> list[Path]:
    """The bundled clip several times; a box that players pass over makes each a video of its own."""
    found = [folder / f"walk{number}.mp4" for number in range(NUM_CLIPS)]
    for number, path in enumerate(found):
        path.write_bytes(CLIP.read_bytes() + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
    return found


@pytest.mark.slow
def test_measured_services_take_as_long_as_they_are_simulated_to(tmp_path, kafka_servers, minio_server, unique) -> None:
    sets = {"GIM_SAMPLING__SEGMENT_SAMPLES": str(SEGMENT_SAMPLES)}
    with cluster(tmp_path, kafka_servers, minio_server, unique, partitions=PARTITIONS, **sets) as system:
        services = system.start_all("downloader", *["matcher"] * NUM_MATCHERS, "propagator")
        for service in services:
            service.wait_ready()
        wait_for(lambda: all("gim_bus_lag{" in each.ask("/metrics")[1] for each in services[1:3]), "settled groups")
        system.publish(*copies(tmp_path))
        system.wait_finished(NUM_CLIPS, 1200.0)
        system.wait_idle()
        metrics = "\n".join(service.ask("/metrics")[1] for service in services)
        real = course_of([line for service in services for line in service.lines()], NUM_MATCHERS)
    plan = measured_plan(
        metrics,
        [
            f"kafka.partitions={PARTITIONS}", f"videos.number={NUM_CLIPS}", f"videos.lengths_seconds={CLIP_SECONDS}",
            f"videos.segment_samples={SEGMENT_SAMPLES}", f"matchers.rootsift.pods={NUM_MATCHERS}",
            "downloader.pods=1", "propagator.pods=1",
        ],
    )  # fmt: skip
    assert_alike(real, simulated(plan))
    requests = sum(
        float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("gim_store_requests_total{")
    )
    assert requests == pytest.approx(simulated_requests(plan), rel=WITHIN - 1)
