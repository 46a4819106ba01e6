"""The exponential moving average of a network's weights: what a run publishes, smoother than its last step.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992, with
exponential weights: a <- a + (1 - decay) (w - a) after each step of the optimiser.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gim.errors import ConfigError, InvalidInput
from gim.weights.checkpoint import StateDict


class WeightAverage:
    """Averages parameters in float32, whatever their precision; buffers (BatchNorm's statistics) are the last ones."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        """Begin with the module's weights as they are, on their devices.

        Args:
            module: not wrapped in `DistributedDataParallel`.
            decay: share of the average that stays in each step, 0 <= decay < 1.

        Raises:
            ConfigError: the decay is outside.
        """
        if not 0 <= decay < 1:
            raise ConfigError(f"loop.ema {decay}: a decay lies in [0, 1)")
        self.decay = decay
        # All weights at once, and as a step towards them: what does not move (frozen layers) stays bit-exact.
        self._move: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        weights, buffers = _weights_and_buffers(module)
        self._averages = {name: value.to(torch.float32, copy=True) for name, value in weights.items()}
        self._buffers = {name: value.clone() for name, value in buffers.items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Take in the weights after a step of the optimiser."""
        weights, buffers = _weights_and_buffers(module)
        self._move(list(self._averages.values()), [weights[name].float() for name in self._averages], 0)
        self._copy(buffers)

    @torch.no_grad()
    def update_buffers(self, module: torch.nn.Module) -> None:
        """Take in the buffers alone."""
        self._copy(_weights_and_buffers(module)[1])

    def _copy(self, buffers: StateDict) -> None:
        for name, value in self._buffers.items():
            value.copy_(buffers[name])

    def averaged(self) -> StateDict:
        """A state dict of the module: averages in float32, buffers as they are. It shares memory with this object."""
        return {**self._averages, **self._buffers}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"decay": self.decay, "averages": dict(self._averages), "buffers": dict(self._buffers)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, with the decay that this object was made with.

        Raises:
            InvalidInput: the state is of another network; the message names a weight.
        """
        for own, stored in ((self._averages, state["averages"]), (self._buffers, state["buffers"])):
            if wrong := sorted(own.keys() ^ stored.keys()):
                raise InvalidInput(f"average of weights: {wrong[0]} is in one of checkpoint and network only")
            for name, value in own.items():
                if value.shape != stored[name].shape:
                    shapes = f"{list(stored[name].shape)} in the checkpoint, {list(value.shape)} in the network"
                    raise InvalidInput(f"average of weights: {name} is {shapes}")
                value.copy_(stored[name])


def _weights_and_buffers(module: torch.nn.Module) -> tuple[StateDict, StateDict]:
    """What a state dict holds, in two: parameters (tied ones under all their names), and the rest."""
    names = {name for name, value in module.named_parameters(remove_duplicate=False) if value.is_floating_point()}
    state = {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    weights = {name: value for name, value in state.items() if name in names}
    return weights, {name: value for name, value in state.items() if name not in names}
