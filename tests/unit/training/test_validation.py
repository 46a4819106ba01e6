"""The loss on held-out pairs: always the same ones, means over all of them, and nothing of the training is changed."""

from contextlib import contextmanager
from itertools import islice

import pytest
import torch

from gim.training.distributed import Ranks
from gim.training.models.base import Loss
from gim.training.validation import held_out_losses
from tests.unit.training.toy import Rows, Toy, ToyMicroBatch, ToyStream


class Opened:
    """Opens a stream anew each time, and counts how often and whether it was closed."""

    def __init__(self, parts=("video",)):
        self.parts, self.num_opened, self.num_closed = parts, 0, 0

    @contextmanager
    def __call__(self):
        self.num_opened += 1
        yield (ToyMicroBatch(item.batch, part=self.parts[n % len(self.parts)]) for n, item in enumerate(ToyStream()))
        self.num_closed += 1


def loss_of(model, number):
    (item,) = islice(ToyStream(), number, number + 1)
    return model(item.batch).total.item()


def test_the_mean_over_the_first_micro_batches_every_time():
    model, opened = Toy(), Opened(("video", "homography"))
    first = held_out_losses(model, opened, 3, Ranks())
    losses = [loss_of(model, number) for number in range(3)]
    assert first == {
        "loss": pytest.approx(sum(losses) / 3),
        "video/square": pytest.approx((losses[0] + losses[2]) / 2),
        "homography/square": pytest.approx(losses[1]),
    }
    assert held_out_losses(model, opened, 3, Ranks()) == first
    assert (opened.num_opened, opened.num_closed) == (2, 2)


@pytest.mark.parametrize("was_training", [True, False])
def test_the_mode_and_the_gradients_stay_as_they_were(was_training):
    seen = []

    class Watched(Toy):
        def forward(self, batch: Rows) -> Loss:
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(batch)

    model = Watched().train(was_training)
    held_out_losses(model, Opened(), 2, Ranks())
    assert seen == [(False, False)] * 2
    assert model.training == was_training
    assert model.weights.grad is None


def test_a_loss_that_fails_leaves_the_mode_too():
    class Broken(Toy):
        def forward(self, batch: Rows) -> Loss:
            raise ValueError("no")

    model = Broken().train()
    with pytest.raises(ValueError, match="no"):
        held_out_losses(model, Opened(), 2, Ranks())
    assert model.training


def test_ranks_that_met_other_parts_are_put_together():
    class Two(Ranks):
        def gather(self, value):
            return [value, {"loss": (10.0, 2.0), "posed/square": (4.0, 1.0)}]

    model = Toy()
    found = held_out_losses(model, Opened(), 2, Two())
    own = [loss_of(model, number) for number in range(2)]
    assert found["loss"] == pytest.approx((sum(own) + 10) / 4)
    assert found["posed/square"] == 4.0
    assert found["video/square"] == pytest.approx(sum(own) / 2)
