"""The whole pipeline: nothing is lost or made, the same seed gives the same, more pods do not do less."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import ConfigError
from gim.simulation.limits import demand_of, leading_limit, parts_of
from gim.simulation.messages import SHARED
from gim.simulation.pipeline import Pipeline
from gim.simulation.plan import MatcherPlan, Plan
from gim.simulation.result import simulate
from tests.unit.simulation.plans import SMALL, changed

FINITE = changed(hours=40.0, warm_up_hours=0.0, videos={"per_day": 40.0, "spread": 0.8})
TWO_MATCHERS = replace(SMALL, matchers={**SMALL.matchers, "sift": replace(SMALL.matchers["net"], gpus=0, cores=4.0)})


def run(plan: Plan, hours: float) -> Pipeline:
    pipeline = Pipeline(plan)
    pipeline.run(hours * 3600.0)
    return pipeline


@pytest.mark.parametrize("matchers", [SMALL.matchers, TWO_MATCHERS.matchers], ids=["one matcher", "two matchers"])
@pytest.mark.parametrize("mtbf_hours", [0.0, 0.5], ids=["no failures", "failures"])
def test_every_video_that_was_asked_for_becomes_pairs_once_and_costs_its_work(matchers, mtbf_hours) -> None:
    plan = replace(FINITE, matchers={name: replace(each, mtbf_hours=mtbf_hours) for name, each in matchers.items()})
    plan = changed(plan, downloader={"mtbf_hours": mtbf_hours}, propagator={"mtbf_hours": mtbf_hours})
    pipeline = Pipeline(plan)
    pipeline.run(24 * 3600.0)
    asked = pipeline._requested
    asked.until = lambda _time: np.empty(0)  # nobody asks any more
    pipeline.run(16 * 3600.0)
    videos = pipeline._videos
    assert videos.num > 20
    assert pipeline.num_videos == videos.num
    assert {name: stage.group.lag for name, stage in pipeline.stages.items()} == dict.fromkeys(pipeline.stages, 0.0)
    segments = int(videos.segments[: videos.num].sum())
    for name in matchers:
        assert pipeline.stages[f"label-{name}"].group.num_done == segments
        assert pipeline.stages[f"label-{name}"].video_seconds == pytest.approx(videos.seconds[: videos.num].sum())
    assert pipeline.stages["propagate"].video_seconds == pytest.approx(videos.seconds[: videos.num].sum())
    work = {"label-net": 0.1 * sum(pairs_of(n) for n in videos.samples[: videos.num].tolist())}
    group = pipeline.stages["label-net"].group
    assert group.busy_seconds == pytest.approx(work["label-net"] + group.lost_seconds)
    assert (group.lost_seconds > 0) == (mtbf_hours > 0)
    assert group.num_returned <= pipeline.stages["label-net"].fleet.num_failures


def pairs_of(samples: int) -> int:
    return sum(max(samples - interval, 0) for interval in (1, 2, 4))


def test_the_units_that_stages_took_are_those_of_the_videos_done() -> None:
    plan = changed(FINITE, store={"frame_bytes": 1000.0, "pair_bytes": 7.0, "label_bytes": 10.0})
    pipeline = Pipeline(plan)
    pipeline.run(24 * 3600.0)
    pipeline._requested.until = lambda _time: np.empty(0)
    pipeline.run(16 * 3600.0)
    samples = pipeline._videos.samples[: pipeline._videos.num]
    seconds = pipeline._videos.seconds[: pipeline._videos.num]
    source = seconds * plan.videos.bits_per_second / 8
    written = source + seconds / 0.2 * 1000.0 + samples * 7.0 + 10.0 * np.array([pairs_of(n) for n in samples.tolist()])
    units = dict(zip(SHARED, pipeline.units_done(), strict=True))
    assert units["store bytes written"] == pytest.approx(written.sum())
    assert units["source videos"] == len(samples)
    assert units["source bytes"] == pytest.approx(source.sum())


def test_the_same_seed_gives_the_same_to_the_bit_and_another_does_not() -> None:
    plan = changed(net={"mtbf_hours": 5.0, "spread": 0.3}, videos={"spread": 0.7, "per_day": 300.0}, hours=2.0)
    assert simulate(plan) == simulate(plan)
    assert simulate(plan) != simulate(replace(plan, seed=2))


def test_a_run_in_steps_is_the_run_in_one_go() -> None:
    whole, steps = run(SMALL, 3.0), Pipeline(SMALL)
    for _ in range(12):
        steps.run(900.0)
    for name, stage in whole.stages.items():
        assert steps.stages[name].counts() == pytest.approx(stage.counts())


# --- throughput


def test_the_gpus_are_busy_and_do_what_they_can_when_nothing_else_is_short() -> None:
    """Four GPUs, 96 pairs of 0.1 s in 6.4 s of video: 4 x 24 x 6.4 / 9.6 = 64 hours a day."""
    result = simulate(changed(hours=12.0))
    assert result.stages[1].hours_per_day == pytest.approx(64.0, rel=0.01)
    assert result.video_hours_per_day == pytest.approx(64.0, rel=0.03)
    assert result.gpu_idle_share == pytest.approx(0.0, abs=0.01)
    assert result.saturates_first in ("pods of label-net", "partitions of label-net")
    assert result.stages[1].busy_share == pytest.approx(1.0, abs=0.01)


def test_a_part_that_is_short_decides_the_throughput() -> None:
    ingest = simulate(changed(downloader={"pods": 1, "decode_seconds": 1.0}))
    assert ingest.saturates_first in ("pods of ingest", "partitions of ingest")
    assert ingest.video_hours_per_day == pytest.approx(24 * 640 / (640 + 4 + 640 * 2e6 / 50e6), rel=0.05)
    propagate = simulate(changed(propagator={"pods": 1, "sample_seconds": 1.0}, hours=12.0))
    assert propagate.saturates_first in ("pods of propagate", "partitions of propagate")
    assert propagate.video_hours_per_day == pytest.approx(24 * 640 / (3200 * 0.5 + 1), rel=0.1)


@pytest.mark.parametrize(
    ("section", "field", "name"),
    [
        ("store", "read_bytes_per_second", "store bytes read"),
        ("store", "write_bytes_per_second", "store bytes written"),
        ("store", "requests_per_second", "store requests"),
        ("kafka", "messages_per_second", "bus messages"),
        ("origin", "bytes_per_second", "source bytes"),
    ],
)
def test_a_shared_server_is_used_up_to_its_capacity_and_not_beyond(section, field, name) -> None:
    store = {"frame_bytes": 2e5, "pair_bytes": 4e5, "label_bytes": 1e4}
    plan = changed(store=store, hours=8.0, downloader={"max_label_lag": 200})
    demand = demand_of(plan)
    half = leading_limit(plan, parts_of(plan, demand)) / 2  # hours a day
    capacity = half * demand.units[SHARED.index(name)] / 86400
    result = simulate(changed(plan, **{section: {field: float(capacity)}}))
    assert result.saturates_first == name
    (part,) = (part for part in result.parts if part.part == name)
    assert part.limit_hours_per_day == pytest.approx(half)
    assert part.used_share == pytest.approx(1.0, abs=0.05)
    # Propagators hold nobody back: what they lack, the stages before them have spent on work that waits for them.
    assert 0.5 * half < result.video_hours_per_day < 1.05 * half


def test_more_pods_never_do_less_until_partitions_cap_them() -> None:
    plan = changed(downloader={"pods": 6}, propagator={"pods": 6}, hours=8.0)
    hours = {
        pods: simulate(changed(plan, net={"pods": pods})).stages[1].hours_per_day for pods in (1, 2, 3, 4, 6, 12, 24)
    }
    found = list(hours.values())
    assert all(later > 0.98 * earlier for earlier, later in pairwise(found))
    assert hours[2] == pytest.approx(2 * hours[1], rel=0.03)
    assert hours[12] == pytest.approx(12 * hours[1], rel=0.05)
    assert hours[24] == pytest.approx(hours[12], rel=0.01)


def test_pods_that_do_not_share_the_partitions_evenly_are_worth_fewer() -> None:
    """Twelve partitions on five pods: three each at most, so that the work of four is done."""
    plan = changed(downloader={"pods": 6, "max_label_lag": 200}, net={"pods": 5}, hours=12.0, warm_up_hours=4.0)
    result = simulate(plan)
    assert result.stages[1].hours_per_day == pytest.approx(64.0, rel=0.05)
    assert any("kafka.partitions=15 keeps all" in remark for remark in result.remarks)


@settings(max_examples=10)
@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(1, 16), st.floats(0.01, 0.3),
    st.floats(0.001, 0.2), st.integers(0, 3),
)  # fmt: skip
def test_no_simulation_comes_above_the_limits(net, ingest, propagate, partitions, pair, sample, seed) -> None:
    plan = changed(
        net={"pods": net, "pair_seconds": pair},
        downloader={"pods": ingest, "max_label_lag": 50},
        propagator={"pods": propagate, "sample_seconds": sample},
        kafka={"partitions": partitions},
        hours=4.0,
        seed=seed,
    )
    result = simulate(plan)
    limits = {part.part: part.limit_hours_per_day for part in result.parts if part.limit_hours_per_day}
    video_hours = 640 / 3600  # what is begun before the time counted may end in it
    for stage in result.stages:
        assert stage.hours_per_day <= limits[f"pods of {stage.stage}"] * 1.001 + 24 / 4.0 * video_hours * stage.pods
        assert stage.busy_share <= 1 + 1e-9
    assert result.gpu_idle_share is not None
    assert -1e-3 <= result.gpu_idle_share <= 1


# --- what holds back, fails and scales


def test_downloaders_wait_while_labels_lag_too_far_behind() -> None:
    held = simulate(changed(downloader={"pods": 4}, net={"pods": 1}))
    assert held.held_back_share > 0.5
    assert held.stages[1].lag_max <= 1000 + 2 * 4 * 100  # begun before a look, and again before the next
    assert held.gpu_idle_share == pytest.approx(0.0, abs=0.02)
    free = simulate(changed(downloader={"pods": 4, "max_label_lag": 10**9}, net={"pods": 1}))
    assert free.held_back_share == 0
    assert free.stages[1].lag_end > 2000


def test_too_small_a_lag_limit_lets_matchers_run_dry_and_says_so() -> None:
    plan = changed(downloader={"pods": 12, "max_label_lag": 0}, net={"pods": 12, "pair_seconds": 0.01}, hours=3.0)
    plan = changed(plan, propagator={"pods": 6})
    result = simulate(plan)
    assert result.max_label_lag_needed > 0
    assert result.gpu_idle_share is not None
    assert result.gpu_idle_share > 0.2
    assert any("max_label_lag" in remark for remark in result.remarks)


def test_failures_cost_the_whole_group_the_rest_of_a_session() -> None:
    """Restarted after 15 s, waited for until 45: each failure stops all for 30 s, and work in hand is done again."""
    plan = changed(net={"mtbf_hours": 1.0, "restart_seconds": 15.0}, hours=24.0)
    (stage,) = (stage for stage in simulate(plan).stages if stage.stage == "label-net")
    assert stage.failures == pytest.approx(96, abs=40)
    assert stage.rebalancing_share == pytest.approx(stage.failures * 30 / 86400, rel=0.15)
    assert stage.lost_share == pytest.approx(stage.failures * 9.6 / 2 / (86400 * 4), rel=0.4)
    short = simulate(changed(plan, kafka={"session_timeout_seconds": 10.0}))
    assert short.video_hours_per_day > simulate(plan).video_hours_per_day


def test_autoscaled_pods_follow_the_work_and_go_to_zero_without_any() -> None:
    scaled = {"pods": 0, "max_pods": 8, "lag_per_pod": 20.0, "start_seconds": 30.0}
    plan = changed(FINITE, net=scaled, videos={"per_day": 30.0, "spread": 0.0}, hours=24.0)
    result = simulate(plan)
    pods = result.series["pods label-net"]
    assert min(pods) == 0
    assert max(pods) > 2
    assert 0 < result.gpus < 4
    assert result.video_hours_per_day == pytest.approx(30 * 640 / 3600, rel=0.5)


def test_evaluations_are_scored_beside_the_videos() -> None:
    evaluator = {"checkpoints_per_day": 240.0, "pairs": 1000, "shard_pairs": 100, "pair_seconds": 0.05, "pods": 2}
    result = simulate(changed(evaluator=evaluator, hours=24.0))
    (stage,) = (stage for stage in result.stages if stage.stage == "evaluate-shards")
    assert stage.busy_share == pytest.approx(240 * 1000 * 0.05 / 86400 / 2, rel=0.2)


def test_what_is_asked_for_is_all_done_when_nothing_is_short() -> None:
    result = simulate(changed(videos={"per_day": 100.0}, hours=48.0))
    assert result.asked_hours_per_day == pytest.approx(100 * 640 / 3600)
    assert result.video_hours_per_day == pytest.approx(result.asked_hours_per_day, rel=0.2)
    assert result.gpu_idle_share == pytest.approx(1 - result.asked_hours_per_day / 64, abs=0.1)
    assert "all that is asked for can be done: 17.8 hours of video a day" in result.remarks


def test_a_number_of_videos_is_simulated_until_all_are_done() -> None:
    """One pod of each stage: the last of four videos is taken in after 4 x 61.6 s, and labelled long after."""
    one = changed(downloader={"pods": 1}, net={"pods": 1}, propagator={"pods": 1}, kafka={"partitions": 1})
    result = simulate(changed(one, videos={"number": 4, "lengths_seconds": (640.0, 320.0)}))
    labels = 0.1 * sum(pairs_of(samples) for samples in (3200, 1600, 3200, 1600))
    last = 50 * 0.01 + 1600 * 0.02 / 2
    first = 4 + 640 * 2e6 / 50e6 + 640 * 0.05
    assert result.hours_until_done == pytest.approx((first + labels + last) / 3600)
    assert result.videos_per_day * result.hours_until_done / 24 == pytest.approx(4, rel=0.01)
    assert result.series["lag propagate"][-1] >= 0
    early = simulate(changed(one, videos={"number": 1, "lengths_seconds": (6.4,)}, record_seconds=1.0))
    (ingest, labels, _) = early.stages
    assert (ingest.lag_max, labels.lag_max) == (1, 1)
    assert early.videos_per_day * early.hours_until_done / 24 == pytest.approx(1, rel=0.1)
    late = simulate(changed(one, videos={"number": 4}, hours=0.5))
    assert late.hours_until_done is None
    assert any("of 4 videos became pairs" in remark for remark in late.remarks)


def test_costs_are_the_plan_s_prices_for_the_pods_that_are_held() -> None:
    prices = {"gpu_hour": 2.0, "core_hour": 0.1, "gigabyte_month": 0.02}
    result = simulate(changed(prices=prices, store={"pair_bytes": 1e5}))
    assert result.cost is not None
    assert result.cost.gpus_per_day == pytest.approx(4 * 24 * 2.0)
    assert result.cost.cores_per_day == pytest.approx(8 * 2 * 24 * 0.1)
    assert result.cost.per_video_hour == pytest.approx((192 + 38.4) / result.video_hours_per_day)
    assert result.cost.storing_a_day_per_month == pytest.approx(result.stored_bytes_per_day / 1e9 * 0.02)
    assert simulate(SMALL).cost is None


def test_a_plan_that_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^matchers\.net\.pair_seconds is not known: .* --set matchers\.net\.pair"):
        simulate(changed(net={"pair_seconds": None}))
    with pytest.raises(ConfigError, match=r"\[matchers.NAME\]"):
        simulate(replace(SMALL, matchers={}))
    with pytest.raises(ConfigError, match=r"videos\.used_share = 1\.5: expected a number from 0 to 1"):
        simulate(changed(videos={"used_share": 1.5}))
    with pytest.raises(ConfigError, match=r"kafka\.partitions = 0: expected a number of at least 1"):
        simulate(changed(kafka={"partitions": 0}))
    with pytest.raises(ConfigError, match=r"videos\.number and videos\.per_day: set one of them"):
        simulate(changed(videos={"number": 4, "per_day": 3.0}))
    with pytest.raises(ConfigError, match="hours = nan"):
        simulate(changed(hours=float("nan")))
    with pytest.raises(ConfigError, match=r"evaluator\.pair_seconds is not known"):
        simulate(changed(evaluator={"checkpoints_per_day": 1.0, "pairs": 10}))
    assert MatcherPlan().pair_seconds is None


@pytest.mark.slow
def test_a_day_of_a_thousand_gpus_takes_less_than_a_few_minutes() -> None:
    """Twenty million segments; some tens of seconds on an idle core."""
    import time

    plan = changed(
        hours=22.0, warm_up_hours=2.0, kafka={"partitions": 2000}, net={"pods": 1000, "pair_seconds": 0.04},
        downloader={"pods": 400, "max_label_lag": 60_000}, propagator={"pods": 1200},
    )  # fmt: skip
    started = time.process_time()
    result = simulate(plan)
    assert result.gpu_idle_share is not None
    assert result.gpu_idle_share < 0.1
    assert time.process_time() - started < 200
