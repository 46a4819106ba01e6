"""The optimiser of a trainable."""

import pytest
import torch

from gim.errors import ConfigError
from gim.training.config import OptimiserConfig
from gim.training.optimiser import build_optimiser, set_learning_rate


def groups():
    return {name: [torch.nn.Parameter(torch.ones(2))] for name in ("main", "encoder")}


def step(optimiser):
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    return [group["params"][0][0].item() for group in optimiser.param_groups]


def test_decay_is_of_the_weights_in_adamw_and_of_the_gradient_in_adam():
    config = OptimiserConfig(lr=0.1, weight_decay=0.5, betas=(0.8, 0.9))
    # AdamW: w (1 - lr decay). Adam: a step of lr against the sign of decay * w.
    assert step(build_optimiser(groups(), config, architecture="x")) == pytest.approx([0.95, 0.95])
    adam = OptimiserConfig("adam", lr=0.1, weight_decay=0.5, betas=(0.8, 0.9))
    built = build_optimiser(groups(), adam, architecture="x")
    assert step(built) == pytest.approx([0.9, 0.9])
    assert built.param_groups[0]["betas"] == (0.8, 0.9)


def test_a_rate_is_set_for_every_group_by_its_factor():
    config = OptimiserConfig(lr=1.0, weight_decay=0.0, group_lr={"encoder": 0.05})
    optimiser = build_optimiser(groups(), config, architecture="x")
    for rate in (0.2, 0.4):
        set_learning_rate(optimiser, rate)
        assert {group["name"]: group["lr"] for group in optimiser.param_groups} == pytest.approx(
            {"main": rate, "encoder": 0.05 * rate}
        )


def test_factors_come_from_the_recipe_and_not_from_a_checkpoint():
    """A run goes on with the settings that it was begun with, so both are the same; the state keeps the factor too."""
    config = OptimiserConfig(group_lr={"encoder": 0.05})
    first, second = (build_optimiser(groups(), config, architecture="x") for _ in range(2))
    step(first)
    second.load_state_dict(first.state_dict())
    assert [group["factor"] for group in second.param_groups] == [1.0, 0.05]


def test_a_group_without_a_parameter_is_left_out():
    optimiser = build_optimiser({**groups(), "heads": []}, OptimiserConfig(), architecture="x")
    assert [group["name"] for group in optimiser.param_groups] == ["main", "encoder"]


def test_a_group_that_there_is_not_is_named():
    config = OptimiserConfig(group_lr={"encodr": 0.05})
    with pytest.raises(ConfigError, match=r"optimiser.group_lr.encodr: x has the groups encoder, main"):
        build_optimiser(groups(), config, architecture="x")
