"""A recipe for another number of devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ConfigError
from gim.training.config import TrainingConfig
from gim.training.data.stream import lanes_of_rank
from gim.training.scaling import scaled_to
from tests.unit.training.run_small import changed


def recipe(canonical_batch=32, batch_size=2):
    return changed(
        TrainingConfig(),
        loop={"canonical_batch": canonical_batch, "batch_size": batch_size},
        optimiser={"lr": 1e-3, "min_lr": 1e-5},
    )


def test_where_the_devices_share_the_step_nothing_changes():
    for devices in (1, 2, 4, 8, 16):
        assert scaled_to(recipe(), devices) == recipe()


def test_else_the_step_grows_to_whole_micro_batches_and_the_rate_with_it():
    scaled = scaled_to(recipe(), 24)  # 48 pairs
    assert scaled.loop.canonical_batch == 48
    assert scaled.optimiser.lr == pytest.approx(1.5e-3)
    assert scaled.optimiser.min_lr == pytest.approx(1.5e-5)
    assert scaled.schedule == recipe().schedule  # counted in pairs


@given(batch_size=st.integers(1, 8), micro_batches=st.integers(1, 40), devices=st.integers(1, 64))
def test_a_scaled_recipe_is_valid_and_divides_among_its_devices(batch_size, micro_batches, devices):
    config = recipe(batch_size * micro_batches, batch_size)
    scaled = scaled_to(config, devices)
    scaled.check()
    shares = [lanes_of_rank(scaled.num_lanes, rank, devices) for rank in range(devices)]
    assert sorted(lane for share in shares for lane in share) == list(range(scaled.num_lanes))
    grown = scaled.loop.canonical_batch - config.loop.canonical_batch
    assert 0 <= grown < batch_size * devices  # no more than it has to
    ratio = scaled.loop.canonical_batch / config.loop.canonical_batch
    assert scaled.optimiser.lr / config.optimiser.lr == pytest.approx(ratio)
    assert scaled_to(scaled, devices) == scaled


def test_no_device_is_refused():
    with pytest.raises(ConfigError, match="devices 0"):
        scaled_to(recipe(), 0)
