"""One step: the mean over its micro-batches, clipped, and nothing where a gradient is no number."""

from math import isfinite

import pytest
import torch

from gim.training.config import LoopConfig, OptimiserConfig
from gim.training.optimiser import build_optimiser, set_learning_rate
from gim.training.step import Stepper
from gim.training.window import Sum
from tests.unit.training.toy import Rows, Toy, ToyStream


def _stepper(model: Toy, *, clip_norm: float = 0.0) -> Stepper:
    config = OptimiserConfig(lr=0.01, clip_norm=clip_norm)
    optimiser = build_optimiser(model.groups(), config, architecture="toy")
    return Stepper(model, optimiser, device=torch.device("cpu"), loop=LoopConfig(), config=config)


def test_micro_batches_add_up_to_the_mean_over_all_rows() -> None:
    stream, model = ToyStream(), Toy()
    result = _stepper(model).step(stream, 4)
    other = Toy()
    loss = other(Rows(torch.cat(stream.given))).total
    loss.backward()
    assert other.weights.grad is not None
    assert model.weights.grad == pytest.approx(other.weights.grad, rel=1e-6)
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    assert result.sums == {"loss": result.sums["video/square"], "video/square": Sum(pytest.approx(4 * loss.item()), 4)}
    assert (result.num_supervised, result.wait_seconds, result.is_good, result.bad) == (12, 1.0, True, ())


def test_gradients_are_clipped_and_their_norm_is_told_unclipped() -> None:
    free, clipped = Toy(), Toy()
    norm = _stepper(free).step(ToyStream(), 2).gradient_norm
    result = _stepper(clipped, clip_norm=0.5).step(ToyStream(), 2)
    assert result.gradient_norm == pytest.approx(norm)
    assert norm > 0.5
    assert clipped.weights.grad is not None
    assert clipped.weights.grad.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_a_step_with_a_bad_micro_batch_changes_nothing_and_names_it() -> None:
    model, stream = Toy(), ToyStream(bad=frozenset({1}))
    stepper = _stepper(model)
    before = model.weights.detach().clone()
    result = stepper.step(stream, 3)
    assert not result.is_good
    assert torch.equal(model.weights, before)
    assert [item.batch.values.isnan().any().item() for item in result.bad] == [True]
    assert len(result.seen) == 3
    assert [item.count for item in result.sums.values()] == [2, 2]  # those that are numbers
    assert isfinite(result.loss)
    assert stepper.step(stream, 3).is_good
    assert not torch.equal(model.weights, before)


def test_groups_have_their_factor_of_the_rate() -> None:
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    config = OptimiserConfig(lr=1.0, group_lr={"encoder": 0.1})
    optimiser = build_optimiser({"main": [first], "encoder": [second]}, config, architecture="toy")
    set_learning_rate(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.5, 0.05])


def test_a_group_that_is_not_there_is_refused() -> None:
    from gim.errors import ConfigError

    config = OptimiserConfig(group_lr={"backbone": 0.1})
    with pytest.raises(ConfigError, match=r"group_lr.backbone: toy has the groups main"):
        build_optimiser(Toy().groups(), config, architecture="toy")
