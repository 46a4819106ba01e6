"""How good weights are on what they were not trained on: the loss on held-out pairs, always the same ones."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from gim.errors import InvalidInput
from gim.training.distributed import Ranks
from gim.training.models.base import Loss
from gim.training.step import MicroBatch

MicroBatchesOpener = Callable[[], AbstractContextManager[Iterator[MicroBatch]]]


def held_out_losses(
    model: torch.nn.Module,
    opened: MicroBatchesOpener,
    num_micro_batches: int,
    ranks: Ranks,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Mean losses over held-out pairs: "loss", and "<part>/<term>".

    Args:
        model: with the weights to be judged, on the device of `ranks`; left in the mode that it was in.
        opened: opens this rank's share of the micro-batches, from the first one on.
        num_micro_batches: of this rank; the same number on all.
        ranks: whose means are put together.
        say: told in a line why pairs are missing.
    """
    sums: dict[str, tuple[float, float]] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), opened() as micro_batches:
            for item in itertools.islice(micro_batches, num_micro_batches):
                loss: Loss = model(item.batch.to(ranks.device))
                named: dict[str, Any] = {"loss": loss.total}
                named |= {f"{item.part}/{name}": value for name, value in loss.terms.items()}
                for name, value in named.items():
                    if math.isfinite(number := float(value)):
                        total, count = sums.get(name, (0.0, 0.0))
                        sums[name] = (total + number, count + 1)
    except InvalidInput as error:  # of pairs that give no sample; the other ranks wait for the means
        say(f"the validation is cut short: {error}")
    finally:
        model.train(was_training)
    return _over_ranks(sums, ranks)


def _over_ranks(sums: dict[str, tuple[float, float]], ranks: Ranks) -> dict[str, float]:
    """Means over all ranks, which need not have met the same terms."""
    gathered = ranks.gather(sums) or []
    everything: dict[str, list[tuple[float, float]]] = {}
    for of_rank in gathered:
        for name, pair in of_rank.items():
            everything.setdefault(name, []).append(pair)
    means = {name: sum(t for t, _ in pairs) / sum(n for _, n in pairs) for name, pairs in everything.items()}
    return ranks.from_first(means)
