"""BatchNorm's running statistics over all ranks, each of which has those of its own micro-batches alone.

They move linearly, r <- (1 - momentum) r + momentum b with b of a micro-batch. So the mean over ranks comes out the
same however often, and after whichever steps, it is taken: a run that was stopped and goes on has the same ones.
"""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from gim.training.distributed import Ranks


@torch.no_grad()
def average_statistics(module: torch.nn.Module, ranks: Ranks) -> None:
    """Give every rank the mean over ranks, in place; all of them have to call this.

    Args:
        module: its frozen layers, which are not in training mode, are let alone.
        ranks: of the run.
    """
    layers = [item for item in module.modules() if isinstance(item, _BatchNorm) and item.training]
    own = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
    if ranks.world_size == 1 or not own:
        return
    sums = ranks.all_sum(torch.cat([buffer.double() for buffer in own]).tolist())
    means = torch.tensor(sums, dtype=torch.float64) / ranks.world_size
    for buffer, mean in zip(own, torch.split(means, [len(buffer) for buffer in own]), strict=True):
        buffer.copy_(mean)
