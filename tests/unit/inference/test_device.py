"""Devices, precision and batches of networks."""

import pytest

torch = pytest.importorskip("torch")

from gim.errors import ConfigError, Unavailable  # noqa: E402
from gim.inference.config import InferenceConfig  # noqa: E402
from gim.inference.device import Batches, choose_device, running  # noqa: E402


def test_a_device_is_chosen_or_refused_in_one_line():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cuda", "mps", "cpu")
    for wrong in ("gpu", "cuda:99", "", "meta-ish"):
        with pytest.raises(ConfigError, match=r"inference\.device") as refused:
            choose_device(wrong)
        assert "\n" not in str(refused.value)


def test_lower_precision_is_for_what_runs_inside_and_nothing_outside():
    layer = torch.nn.Linear(4, 4)
    with running(InferenceConfig(precision="bfloat16"), torch.device("cpu")):
        inside = layer(torch.ones(1, 4))
    assert inside.dtype == torch.bfloat16
    assert not inside.requires_grad
    assert layer(torch.ones(1, 4)).dtype == torch.float32
    with running(InferenceConfig(), torch.device("cpu")):
        assert layer(torch.ones(1, 4)).dtype == torch.float32


class _Device:
    """Has room for so many items at once."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room = room
        self.error = error
        self.batches: list[int] = []
        self.num_refused = 0

    def __call__(self, items):
        if len(items) > self.room:
            self.num_refused += 1
            raise self.error
        self.batches.append(len(items))
        return [item * 10 for item in items]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
@pytest.mark.parametrize("room", [1, 2, 3, 5, 8])
def test_when_memory_runs_out_the_batch_is_halved_and_nothing_is_lost_or_twice(room, error):
    device = _Device(room, error)
    assert Batches(InferenceConfig(batch_size=8)).apply(device, list(range(13))) == [item * 10 for item in range(13)]
    assert max(device.batches) <= room
    # It does not try again what did not fit.
    assert device.batches == sorted(device.batches, reverse=True)


def test_what_fits_is_remembered_for_its_kind_of_work_and_no_other():
    batches = Batches(InferenceConfig(batch_size=8))
    small, large = _Device(3, MemoryError()), _Device(8, MemoryError())
    for _ in range(2):
        assert batches.apply(small, list(range(5)), kind="large images") == [item * 10 for item in range(5)]
    assert batches.apply(large, list(range(8)), kind="small images") == [item * 10 for item in range(8)]
    assert small.num_refused == 1
    assert large.batches == [8]


def test_a_single_item_that_does_not_fit_is_said_with_the_way_out():
    with pytest.raises(Unavailable, match="lower") as refused:
        Batches(InferenceConfig()).apply(_Device(0, torch.OutOfMemoryError("out of memory")), [1, 2])
    assert "\n" not in str(refused.value)


def test_other_errors_are_not_taken_for_want_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        Batches(InferenceConfig()).apply(_Device(0, RuntimeError("shapes do not fit")), [1, 2])


def test_nothing_is_nothing():
    assert Batches(InferenceConfig()).apply(_Device(0, MemoryError()), []) == []


def test_a_real_allocation_that_is_too_large_is_seen(monkeypatch):
    def allocate(items):
        return [torch.empty(2**58 if len(items) > 1 else 1).numel() for _ in items]

    assert Batches(InferenceConfig()).apply(allocate, [0, 0]) == [1, 1]
