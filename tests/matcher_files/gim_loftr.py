"""GIM LoFTR's weights by the fill rule, in the layout of a Lightning checkpoint."""

from pathlib import Path

from tests.golden_weights import filled_like
from tests.matcher_files import Files
from tests.matcher_files.loftr import SETTINGS


def make(folder: Path, shared: Path | None) -> Files:
    """The published file is too large for the sample data."""
    import torch

    from gim.matchers.nn.loftr import gim_loftr_network

    path = folder / "gim_loftr_50h.ckpt"
    state = filled_like(gim_loftr_network(), gain=1.1)
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}, path)
    return Files({**SETTINGS, "weights": str(path)}, are_real=False)
