"""What a whole run costs, by rule."""

import json
from dataclasses import replace

import pytest

from gim.training.projections import Estimate, FeatureCost, StepSeconds, estimate_text

SECONDS = StepSeconds(data=0.5, batch=0.5, forward=1.0, backward=2.0, optimiser=1.0)
ESTIMATE = Estimate(
    recipe="small",
    architecture="pixels",
    dataset_id="films-00000000",
    device="NVIDIA H200",
    precision="bfloat16",
    num_parameters=1234,
    num_measured=20,
    batch_size=2,
    num_lanes=4,
    num_steps=900,
    num_validation_batches=360,
    seconds=SECONDS,
    memory_bytes=3 * 2**30,
    memory_of="most allocated on the GPU",
    checkpoint_bytes=5 * 2**20,
    num_checkpoints=3,
    features=None,
    price_per_device_hour=2.0,
)
FEATURES = FeatureCost(num_pairs=3600, seconds_per_pair=2.0, bytes_per_pair=2.0**20, max_bytes=2.0**30)


def test_of_one_device():
    assert ESTIMATE.step_seconds == 4 * 4 + 1
    assert ESTIMATE.pairs_per_second == pytest.approx(8 / 17)
    assert ESTIMATE.data_wait_share == pytest.approx(2 / 17)
    one = ESTIMATE.on(1)
    assert one.seconds == 900 * 17 + 360 * 2
    assert one.device_hours == pytest.approx(one.seconds / 3600)
    assert one.cost == pytest.approx(2 * one.device_hours)


def test_of_several_devices():
    """Micro-batches, validation and features are shared; the optimiser's step is everybody's."""
    shared = replace(ESTIMATE, features=FEATURES)
    assert shared.on(1).seconds == ESTIMATE.on(1).seconds + 7200
    assert shared.on(2).seconds == 900 * (2 * 4 + 1) + 180 * 2 + 3600
    assert shared.on(4).seconds == 900 * (4 + 1) + 90 * 2 + 1800
    assert shared.on(4).device_hours == pytest.approx(4 * shared.on(4).seconds / 3600)
    assert [item.num_devices for item in shared.projections] == [1, 2, 4]
    assert [item.num_devices for item in replace(ESTIMATE, num_lanes=6).projections] == [1, 2, 3, 6]


def test_what_a_person_reads():
    text = estimate_text(replace(ESTIMATE, features=FEATURES))
    lines = text.splitlines()
    assert lines[0].startswith(
        "small (pixels, 1,234 weights) on films-00000000: 20 micro-batches of 2 pairs measured on"
    )
    assert "speed       0.471 pairs/s, 17 s for a step of 4 micro-batches" in lines
    assert "time        data 10.0 %, batch 10.0 %, forward 20.0 %, backward 40.0 %, optimiser 20.0 %" in lines
    assert "memory      3.00 GiB (most allocated on the GPU)" in lines
    assert "checkpoints 3 kept of 5.0 MiB each" in lines
    assert (
        "3,600 pairs to be kept, 2 s and 1.00 MiB each: 2.0 h and 3.52 GiB; more than features.max_cache_gib = 1"
        in text
    )
    assert lines[-1].split() == ["4", "108.0", "min,", "7.20", "device-hours,", "cost", "14.40"]
    without = estimate_text(replace(ESTIMATE, price_per_device_hour=None))
    assert "cost" not in without
    assert "features" not in without


def test_what_a_machine_reads():
    facts = json.loads(json.dumps(replace(ESTIMATE, features=FEATURES).facts()))
    assert facts["pairs_per_second"] == pytest.approx(8 / 17)
    assert facts["seconds"]["backward"] == 2.0
    assert facts["features"]["num_pairs"] == 3600
    assert [item["num_devices"] for item in facts["projections"]] == [1, 2, 4]
