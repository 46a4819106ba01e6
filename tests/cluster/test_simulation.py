"""A run in the cluster beside `gim simulate` with the times that its pods told of."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster.kube import Kube, named, wait_for
from tests.cluster.work import begin_again, wait_done
from tests.e2e.test_simulated_services import assert_alike, course_of, measured_plan, simulated
from tests.e2e.undisturbed import SETS, Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SERVICES = ("downloader", "matcher", "propagator")
NUM_MATCHERS = 2
CLIP_SECONDS, SEGMENTS = 6.5, 5  # of each clip
WITHIN = 1.5  # of the time: messages of a second, on cores that run the whole cluster too


def done_messages(kube: Kube, pods: Sequence[str]) -> list[dict[str, Any]]:
    """What the logs of pods tell of messages that were done with."""
    lines = [line for pod in pods for line in kube.run("logs", pod).splitlines() if '"message_done"' in line]
    return [json.loads(line) for line in lines]


def test_a_run_takes_as_long_as_it_is_simulated_to(kube: Kube, clips: Undisturbed) -> None:
    deployments = [f"deployment/{name}" for name in SERVICES]
    kube.run("scale", "deployment/matcher", f"--replicas={NUM_MATCHERS}")
    try:
        kube.run("rollout", "restart", *deployments)  # what fresh pods tell is of this run alone
        kube.wait_rolled_out(*deployments, seconds=600)
        pods = [named(pod) for name in SERVICES for pod in kube.pods(name)]
        wait_for(lambda: all("gim_bus_lag{" in kube.metrics(pod) for pod in pods if "matcher" in pod), "settled groups")
        begin_again(kube, clips)
        wait_done(kube, clips)
        num_labels = SEGMENTS * len(clips.clips)
        wait_for(
            lambda: sum(line["stage"] == "propagate" for line in done_messages(kube, pods)) >= num_labels,
            "all labels to be acknowledged",
        )
        metrics = "\n".join(map(kube.metrics, pods))
        real = course_of(done_messages(kube, pods), NUM_MATCHERS)
    finally:
        kube.run("scale", "deployment/matcher", "--replicas=1")
    plan = measured_plan(
        metrics,
        [
            f"videos.number={len(clips.clips)}", f"videos.lengths_seconds={CLIP_SECONDS}",
            f"videos.segment_samples={SETS['GIM_SAMPLING__SEGMENT_SAMPLES']}",
            f"matchers.rootsift.pods={NUM_MATCHERS}", "downloader.pods=1", "propagator.pods=1",
        ],
    )  # fmt: skip
    assert_alike(real, simulated(plan), within=WITHIN)
