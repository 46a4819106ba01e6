import copy

import pytest
import torch

from gim.errors import ConfigError, InvalidInput
from gim.training.ema import WeightAverage


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.frozen = torch.nn.Linear(4, 4).requires_grad_(False)
        self.tied = self.first


def move(network: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.requires_grad or value.dtype != torch.float32:
                value.add_(torch.randn(value.shape, generator=generator).to(value.dtype))
    network.norm.running_mean.fill_(float(seed))


def test_it_is_the_average_with_weights_that_fall_off_step_by_step():
    network = Network()
    average = WeightAverage(network, 0.8)
    expected = network.first.weight.detach().double()
    for step in range(20):
        move(network, step)
        average.update(network)
        expected = 0.8 * expected + 0.2 * network.first.weight.detach().double()
    found = average.averaged()
    torch.testing.assert_close(found["first.weight"].double(), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(found["tied.weight"], found["first.weight"])


def test_buffers_are_the_last_ones_and_what_is_frozen_stays_bit_for_bit():
    network = Network()
    average = WeightAverage(network, 0.999)
    for step in range(50):
        move(network, step)
        average.update(network)
    found = average.averaged()
    assert torch.equal(found["norm.running_mean"], network.norm.running_mean)
    assert found["norm.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(found["frozen.weight"], network.frozen.weight)
    Network().load_state_dict(found)


def test_it_is_kept_in_float32_when_the_network_is_not():
    network = Network().bfloat16()
    with torch.no_grad():
        network.first.weight.fill_(1.0)
    average = WeightAverage(network, 0.999)
    with torch.no_grad():
        network.first.weight.fill_(2.0)
    average.update(network)
    found = average.averaged()["first.weight"]
    assert found.dtype == torch.float32
    assert found[0, 0] == pytest.approx(1.001, abs=1e-6)  # in bfloat16 it would not have moved


def test_it_goes_on_from_its_state_bit_for_bit():
    network = Network()
    average = WeightAverage(network, 0.9)
    move(network, 0)
    average.update(network)
    restored = WeightAverage(Network(), 0.9)
    restored.load_state_dict(copy.deepcopy(average.state_dict()))
    move(network, 1)
    average.update(network)
    restored.update(network)
    for name, value in average.averaged().items():
        assert torch.equal(restored.averaged()[name], value)


def test_the_state_of_another_network_is_refused_by_a_weight():
    average = WeightAverage(torch.nn.Linear(2, 2), 0.9)
    with pytest.raises(InvalidInput, match="bias is in one of"):
        average.load_state_dict(WeightAverage(torch.nn.Linear(2, 2, bias=False), 0.9).state_dict())
    with pytest.raises(InvalidInput, match=r"weight is \[2, 3\] in the checkpoint, \[2, 2\] in the network"):
        average.load_state_dict(WeightAverage(torch.nn.Linear(3, 2), 0.9).state_dict())


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ConfigError, match=r"loop\.ema"):
        WeightAverage(torch.nn.Linear(2, 2), decay)
