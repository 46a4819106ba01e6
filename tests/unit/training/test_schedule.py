"""The learning rate: as the recipes state it, and nothing that depends on devices."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.settings import Settings
from gim.training.config import OptimiserConfig, ScheduleConfig
from gim.training.recipe_files import training_recipe_names
from gim.training.schedule import learning_rate

_LR = 1e-3


def _rates(pairs: list[int], **schedule: object) -> list[float]:
    config = ScheduleConfig(pairs=1000, **schedule)  # type: ignore[arg-type]
    return [learning_rate(done, OptimiserConfig(lr=_LR, min_lr=1e-4), config) for done in pairs]


def test_warm_up_is_linear_and_ends_at_the_rate() -> None:
    found = _rates([0, 50, 100], warmup_pairs=100, warmup_from=0.1, decay="constant")
    assert found == pytest.approx([1e-4, 5.5e-4, 1e-3])


def test_linear_decay_ends_at_the_least_rate() -> None:
    assert _rates([100, 550, 1000, 2000], warmup_pairs=100, decay="linear") == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-4])


def test_cosine_decay_is_half_way_in_the_middle() -> None:
    assert _rates([0, 500, 1000], decay="cosine") == pytest.approx([1e-3, 5.5e-4, 1e-4])


def test_exponential_decay_falls_to_a_tenth_and_not_below_the_least_rate() -> None:
    schedule = {"decay": "exponential", "decay_from_pairs": 300, "decay_pairs": 500}
    assert _rates([0, 300, 550, 800, 5000], **schedule) == pytest.approx([1e-3, 1e-3, 1e-3 / 10**0.5, 1e-4, 1e-4])


@pytest.mark.parametrize("recipe", training_recipe_names())
def test_every_recipe_stays_between_its_rates_and_falls_after_the_warm_up(recipe: str) -> None:
    train = Settings.load(training_recipe=recipe, environ={}).train
    pairs = range(train.schedule.warmup_pairs, train.schedule.pairs + 1, train.schedule.pairs // 50)
    rates = [learning_rate(done, train.optimiser, train.schedule) for done in pairs]
    assert all(before >= after for before, after in itertools.pairwise(rates))
    assert rates[0] == train.optimiser.lr
    assert rates[-1] >= train.optimiser.min_lr


@given(st.integers(0, 2000), st.sampled_from(["linear", "cosine", "constant", "exponential"]), st.integers(0, 900))
def test_a_rate_is_never_above_the_one_asked_for(done: int, decay: str, warmup_pairs: int) -> None:
    assert 0 < _rates([done], warmup_pairs=warmup_pairs, decay=decay, decay_pairs=100)[0] <= _LR
