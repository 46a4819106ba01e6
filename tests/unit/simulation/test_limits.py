"""What each part carries by itself, reckoned by hand; and a plan that gives every part what it needs."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.simulation.limits import (
    USED_SHARE,
    demand_of,
    fitted,
    lag_needed,
    leading_limit,
    leading_stages,
    parallel_pods,
    parts_of,
    sized,
)
from gim.simulation.plan import with_gpus
from gim.simulation.result import simulate
from tests.unit.simulation.plans import SMALL, changed

PAIRS_AN_HOUR = (3 * 3200 - 7) / (640 / 3600)


def limits(plan):
    return {part.name: part.limit_hours for part in parts_of(plan, demand_of(plan))}


def test_limits_are_capacity_over_demand() -> None:
    found = limits(changed(store={"frame_bytes": 1e5, "read_bytes_per_second": 1e6}))
    assert found["pods of label-net"] == pytest.approx(4 * 86400 / (0.1 * PAIRS_AN_HOUR))
    assert found["partitions of label-net"] == pytest.approx(found["pods of label-net"])
    ingest_seconds = 4 + 640 * 2e6 / 50e6 + 640 * 0.05
    assert found["pods of ingest"] == pytest.approx(2 * 86400 / (ingest_seconds / (640 / 3600)))
    assert found["pods of propagate"] == pytest.approx(2 * 86400 / ((100 * 0.01 + 3200 * 0.02 / 2) / (640 / 3600)))
    # Read: the source once to decode it; every frame by the matcher, and 4 of the next segment; and by the propagator.
    read = 640 * 2e6 / 8 + (3200 + 4 * 99) * 1e5 + 3200 * 1e5
    assert found["store bytes read"] == pytest.approx(1e6 * 86400 / (read / (640 / 3600)))
    assert found["bus messages"] == math.inf


def test_failures_lower_the_limit_by_the_time_that_a_restart_takes() -> None:
    plain = limits(SMALL)["pods of label-net"]
    failing = limits(changed(net={"mtbf_hours": 1.0, "restart_seconds": 400.0}))["pods of label-net"]
    assert failing == pytest.approx(plain * 3600 / 4000)


@pytest.mark.parametrize(
    ("pods", "partitions", "worth"), [(10, 24, 8), (12, 24, 12), (13, 24, 12), (24, 24, 24), (100, 24, 24), (0, 24, 0)]
)
def test_pods_of_a_group_are_worth_what_the_one_with_most_partitions_leaves(pods, partitions, worth) -> None:
    assert parallel_pods(pods, partitions) == worth


@given(st.integers(1, 300), st.integers(1, 300))
def test_pods_are_never_worth_more_than_they_are_or_than_there_are_partitions(pods, partitions) -> None:
    assert partitions / math.ceil(partitions / pods) == parallel_pods(pods, partitions) <= min(pods, partitions)


def test_gpus_lead_and_processors_follow() -> None:
    sift = replace(SMALL.matchers["net"], gpus=0, pair_seconds=1.0)
    both = replace(SMALL, matchers={**SMALL.matchers, "sift": sift})
    assert leading_stages(both) == ["label-net"]
    assert leading_limit(both, parts_of(both, demand_of(both))) == pytest.approx(limits(SMALL)["pods of label-net"])
    assert leading_stages(replace(SMALL, matchers={"sift": sift})) == ["label-sift"]


def test_a_fitted_plan_keeps_its_gpus_and_needs_nothing_more_but_servers() -> None:
    plan = with_gpus(changed(net={"pair_seconds": 0.02}), 20)
    made = fitted(plan)
    demand = demand_of(made)
    hours = leading_limit(made, parts_of(made, demand))
    assert made.matchers["net"].pods == 20
    assert made.kafka.partitions % 20 == 0
    assert made.downloader.max_label_lag >= lag_needed(made, demand, hours)
    for part in parts_of(made, demand):
        if part.unit == "pods" and part.stage != "label-net":
            assert hours / part.limit_hours <= USED_SHARE
    assert made.store == plan.store
    assert fitted(made) == made


def test_a_fitted_plan_keeps_its_gpus_busy() -> None:
    plan = with_gpus(changed(net={"pair_seconds": 0.02}, hours=4.0, warm_up_hours=2.0), 12)
    before, after = simulate(plan), simulate(fitted(plan))
    assert before.gpu_idle_share is not None
    assert after.gpu_idle_share is not None
    assert before.gpu_idle_share > 0.4
    assert after.gpu_idle_share < 0.1


def test_a_sized_plan_has_as_many_pods_as_its_videos_need_and_no_more() -> None:
    plan = changed(net={"pair_seconds": 0.02}, downloader={"pods": 50}, hours=24.0)
    made = sized(plan, 600.0)
    hours = 600 * 640 / 3600
    for part in parts_of(made, demand_of(made)):
        if part.unit == "pods":
            assert hours / part.limit_hours <= USED_SHARE < hours / (part.limit_hours * (1 - 1 / part.size) or 1e-9)
    assert made.kafka.partitions % made.matchers["net"].pods == 0
    assert sized(made, 600.0) == made
    result = simulate(made)
    assert result.asked_hours_per_day == pytest.approx(hours)
    assert result.videos_per_day == pytest.approx(600, rel=0.1)
    assert result.seconds_to_pairs["p95"] < 3600


def test_an_autoscaled_stage_stays_autoscaled_up_to_what_is_needed() -> None:
    net = sized(changed(net={"pods": 3, "max_pods": 100}), 1000.0).matchers["net"]
    assert (net.pods, net.max_pods) == (3, math.ceil(1000 * 640 / 3600 / 16 / USED_SHARE))
    few = sized(changed(net={"pods": 3, "max_pods": 100}), 10.0).matchers["net"]
    assert (few.pods, few.max_pods) == (1, 1)


def test_gpus_are_shared_out_as_the_plan_has_them() -> None:
    net = SMALL.matchers["net"]
    plan = replace(SMALL, matchers={"a": net, "b": replace(net, pods=1, gpus=2), "c": replace(net, gpus=0)})
    found = with_gpus(plan, 60).matchers
    assert (found["a"].pods, found["b"].pods, found["c"].pods) == (40, 10, 4)
    assert with_gpus(changed(net={"max_pods": 9}), 30).matchers["net"].max_pods == 30
    with pytest.raises(InvalidInput, match="1 GPUs are too few for the plan's matchers: a, b"):
        with_gpus(plan, 1)
    with pytest.raises(InvalidInput, match=r"no pods of a matcher on GPUs: .*matchers\.NAME\.gpus=1"):
        with_gpus(changed(net={"gpus": 0}), 10)
