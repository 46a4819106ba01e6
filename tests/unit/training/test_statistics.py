"""Running statistics over ranks: their mean, however often it is taken."""

from collections.abc import Sequence

import pytest
import torch

from gim.training.distributed import Ranks
from gim.training.statistics import average_statistics

NUM_RANKS = 3


def network() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.BatchNorm2d(4).eval())


def average(networks: Sequence[torch.nn.Sequential]) -> None:
    """On all ranks."""
    first, *others = networks

    class First(Ranks):
        def all_sum(self, values: Sequence[float]) -> list[float]:
            rows = [values, *(torch.cat([item[0].running_mean, item[0].running_var]).tolist() for item in others)]
            return [sum(column) for column in zip(*rows, strict=True)]

    average_statistics(first, First(0, NUM_RANKS))
    for other in others:
        other.load_state_dict(first.state_dict())


def after_steps(averaged_after: set[int]) -> torch.nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    networks = [network() for _ in range(NUM_RANKS)]
    for step in range(1, 9):
        for number, item in enumerate(networks):
            item[0](number + torch.randn(2, 4, 5, 5, generator=generator) * (1 + number))
        if step in averaged_after:
            average(networks)
    return networks[0]


def test_the_mean_is_the_same_however_often_it_is_taken():
    once, often = after_steps({8}), after_steps({2, 3, 7, 8})
    assert torch.allclose(once[0].running_mean, often[0].running_mean, atol=1e-6)
    assert torch.allclose(once[0].running_var, often[0].running_var, atol=1e-6)
    own = after_steps(set())
    assert not torch.allclose(own[0].running_mean, once[0].running_mean, atol=0.1)
    expected = (1 - 0.9**8) * 1.0  # on its way from 0 to the mean of 0, 1 and 2
    assert once[0].running_mean.mean().item() == pytest.approx(expected, abs=0.1)


def test_frozen_layers_are_let_alone_and_one_rank_has_nobody_to_ask():
    item = network()
    with torch.no_grad():
        item[1].running_mean += 0.1
    before = {name: value.clone() for name, value in item.state_dict().items()}
    average_statistics(item, Ranks())
    average([item, network(), network()])
    assert all(torch.equal(value, before[name]) for name, value in item.state_dict().items())
