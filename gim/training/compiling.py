"""Networks compiled by torch, which say in one line where there is no compiler."""

from typing import Any

import torch

from gim.errors import ConfigError


class Compiled(torch.nn.Module):
    """A network as `torch.compile` makes it, when it is first called."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._compiled = torch.compile(module)

    def forward(self, *arguments: Any) -> Any:
        """What the network gives.

        Raises:
            ConfigError: it cannot be compiled here.
        """
        try:
            return self._compiled(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:  # noqa: SLF001 - has no other name
            raise ConfigError(
                f"train.loop.compile: torch cannot compile the network ({str(error).splitlines()[0]}). "
                "It needs g++ on a processor, and Triton on a GPU; or train with train.loop.compile=false"
            ) from error
