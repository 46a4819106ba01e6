"""Parts of a network that run in another precision than the rest."""

import torch


class InPrecision(torch.nn.Module):
    """A part that computes in a precision of its own, whatever surrounds it; its results are float32."""

    def __init__(self, part: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._part = part
        self._dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The part's result."""
        with torch.autocast(x.device.type, self._dtype, enabled=self._dtype != torch.float32):
            return torch.as_tensor(self._part(x.float()).float())
