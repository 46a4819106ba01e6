"""The optimiser of a trainable: its groups of parameters, and the rate of each."""

from collections.abc import Mapping

import torch

from gim.errors import ConfigError
from gim.training.config import OptimiserConfig


def build_optimiser(
    groups: Mapping[str, list[torch.nn.Parameter]], config: OptimiserConfig, *, architecture: str
) -> torch.optim.Optimizer:
    """Adam or AdamW over the groups of a trainable.

    Args:
        groups: see `Trainable.groups`; a group that holds nothing is left out.
        config: rates, by `set_learning_rate`.
        architecture: for messages.

    Raises:
        ConfigError: `group_lr` names a group that the architecture does not have.
    """
    if unknown := sorted(set(config.group_lr) - set(groups)):
        raise ConfigError(f"optimiser.group_lr.{unknown[0]}: {architecture} has the groups {', '.join(sorted(groups))}")
    listed = [
        {"params": parameters, "name": name, "factor": config.group_lr.get(name, 1.0)}
        for name, parameters in groups.items()
        if parameters
    ]
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    beta1, beta2 = config.betas
    return kind(listed, lr=config.lr, betas=(beta1, beta2), weight_decay=config.weight_decay)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
