"""Sums over the steps between two points: every micro-batch counts as much as another."""

from math import inf, isnan, nan

import pytest
import torch

from gim.training.step import StepResult
from gim.training.window import Sum, Window
from tests.unit.training.toy import Rows, ToyMicroBatch


def result(*losses: float, wait_seconds: float = 0.0, skipped: int = 0, **terms: tuple[float, ...]) -> StepResult:
    seen = ToyMicroBatch(Rows(torch.zeros(1, 4)), skipped={"too_few_labels": skipped} if skipped else {})
    sums = {name: Sum.of(values) for name, values in {"loss": losses, **terms}.items()}
    return StepResult(sums, 1.0, sums["loss"].count == len(losses), (), (seen,), 1, wait_seconds)


def window_of(*results: StepResult) -> Window:
    window = Window()
    for item in results:
        window.add_step(item, num_pairs=4, seconds=2.0)
    return window


def test_a_sum_is_of_those_that_are_numbers():
    assert Sum.of([1.0, nan, 3.0, inf]) == Sum(4.0, 2)
    assert isnan(Sum.of([nan]).mean)


def test_a_window_is_the_mean_over_its_micro_batches_without_what_was_no_number():
    window = window_of(
        result(1.0, 2.0, wait_seconds=0.5, skipped=2, **{"video/x": (2.0,)}),
        result(nan, 6.0, wait_seconds=0.5, skipped=1, **{"video/x": (3.0, 7.0)}),
    )
    assert window.num_pairs == 8
    assert window.values() == {
        "loss": 3.0,
        "gradient_norm": 1.0,
        "video/x": 4.0,
        "data_wait_share": 0.25,
        "bad_steps": 1,
        "skipped/video/too_few_labels": 3,
    }


def test_a_term_that_never_was_a_number_has_no_value():
    assert window_of(result(nan)).values() == {"gradient_norm": 1.0, "data_wait_share": 0.0, "bad_steps": 1}


def test_the_windows_of_ranks_are_as_one_that_has_seen_it_all():
    first = [result(1.0, wait_seconds=0.5, **{"video/x": (1.0,)}), result(nan, skipped=1)]
    second = [result(3.0, skipped=1, **{"posed/y": (5.0,)}), result(4.0, wait_seconds=0.5, **{"video/x": (3.0,)})]
    both = Window.merged([window_of(*first), window_of(*second)])
    assert both.num_pairs == 8
    assert both.values() == {
        "loss": pytest.approx(8 / 3),
        "gradient_norm": 1.0,
        "video/x": 2.0,
        "posed/y": 5.0,
        "data_wait_share": 1 / 8,
        "bad_steps": 1,
        "skipped/video/too_few_labels": 2,
    }
