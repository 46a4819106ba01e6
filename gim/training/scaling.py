"""A recipe for another number of devices. Imports no torch."""

from dataclasses import replace

from gim.errors import ConfigError
from gim.training.config import TrainingConfig


def scaled_to(config: TrainingConfig, num_devices: int) -> TrainingConfig:
    """A recipe for so many devices: the step grows to whole micro-batches of each, the learning rate with it.

    The published code rounds the micro-batches of a step up in the same way; that the rate grows linearly with the
    step is Goyal et al., "Accurate, Large Minibatch SGD", 2017, Sec. 2.1.

    Raises:
        ConfigError: `num_devices` is not positive.
    """
    if num_devices < 1:
        raise ConfigError(f"devices {num_devices}: at least one")
    loop = config.loop
    per_round = loop.batch_size * num_devices
    batch = -(-loop.canonical_batch // per_round) * per_round
    factor = batch / loop.canonical_batch
    optimiser = replace(config.optimiser, lr=config.optimiser.lr * factor, min_lr=config.optimiser.min_lr * factor)
    return replace(config, loop=replace(loop, canonical_batch=batch), optimiser=optimiser)
