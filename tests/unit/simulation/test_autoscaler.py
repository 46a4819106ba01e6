"""Pods follow the lag as KEDA and the HorizontalPodAutoscaler have them follow it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gim.simulation.autoscaler import Autoscaler
from gim.simulation.plan import AutoscalerPlan, MatcherPlan, Plan
from tests.architecture.tree import ROOT


def scaler(least=1, most=20, lag_per_pod=10.0):
    return Autoscaler(AutoscalerPlan(), least=least, most=most, lag_per_pod=lag_per_pod)


def test_pods_are_as_many_as_the_lag_asks_for_rounded_up() -> None:
    assert scaler().wanted(0.0, 51.0, 4) == 6
    assert scaler().wanted(0.0, 60.0, 4) == 6


def test_a_lag_within_the_tolerance_changes_nothing() -> None:
    assert scaler().wanted(0.0, 109.0, 10) == 10
    assert scaler().wanted(0.0, 111.0, 10) == 12


def test_a_step_up_at_most_doubles_or_adds_four() -> None:
    assert scaler(most=1000).wanted(0.0, 1e6, 1) == 5
    assert scaler(most=1000).wanted(0.0, 1e6, 50) == 100


def test_pods_go_one_a_minute_and_only_when_fewer_have_sufficed_for_the_cool_down() -> None:
    scaled, pods, seen = scaler(), 10, {}
    assert scaled.wanted(0.0, 100.0, 10) == 10
    for second in range(15, 600, 15):
        pods = seen[second] = scaled.wanted(float(second), 30.0, pods)
    assert seen[300] == 10
    assert [seen[second] for second in (315, 360, 375, 420, 435, 495, 555, 585)] == [9, 9, 8, 8, 7, 6, 5, 5]


def test_a_stage_is_scaled_to_zero_after_the_cool_down_and_back_at_the_first_message() -> None:
    scaled = scaler(least=0)
    assert scaled.wanted(0.0, 5.0, 3) == 3
    assert scaled.wanted(285.0, 0.0, 3) == 3
    assert scaled.wanted(300.0, 0.0, 3) == 0
    assert scaled.wanted(315.0, 0.0, 0) == 0
    assert scaled.wanted(330.0, 900.0, 0) == 1
    assert scaled.wanted(345.0, 900.0, 1) == 5


def test_what_is_assumed_of_the_autoscaler_is_what_the_manifests_say() -> None:
    config, plans = AutoscalerPlan(), Plan(matchers={"rootsift": MatcherPlan()}).pods_plans()
    files = {"downloader": "ingest", "matcher": "label-rootsift", "propagator": "propagate"}
    for name, group in files.items():
        text = (ROOT / f"k8s/components/keda/{name}.yaml").read_text()
        assert re.findall(r"consumerGroup: (\S+)", text) == [group]
        assert re.findall(r"lagThreshold: \"(\d+)\"", text) == [f"{plans[group].lag_per_pod:g}"]
        assert f"pollingInterval: {config.poll_seconds:g}\n" in text
        assert f"cooldownPeriod: {config.cool_down_seconds:g} " in text
        assert f"stabilizationWindowSeconds: {config.cool_down_seconds:g}\n" in text
        step = f"value: {config.step_down_pods}, periodSeconds: {config.step_down_seconds:g}}}"
        assert step in text


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 30)), min_size=1, max_size=30),
    st.integers(0, 3),
    st.integers(3, 9),
)
def test_pods_stay_within_bounds_and_rise_with_the_lag(asked, least, most) -> None:
    for lag, pods in asked:
        inside = max(least, min(pods, most))
        wanted = scaler(least, most).wanted(0.0, lag, inside)
        assert least <= wanted <= max(most, 1)
        assert scaler(least, most).wanted(0.0, lag * 2, inside) >= wanted
