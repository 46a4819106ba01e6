"""GIM LoFTR's weights by the fill rule, in the layout of a Lightning checkpoint."""

from pathlib import Path

from tests.golden_weights import filled_like, save_checkpoint
from tests.matcher_files import Files
from tests.matcher_files.loftr import SETTINGS


def make(folder: Path, shared: Path | None) -> Files:
    """The published file is too large for the sample data."""
    from gim.matchers.nn.loftr import gim_loftr_network

    path = folder / "gim_loftr_50h.ckpt"
    save_checkpoint(filled_like(gim_loftr_network(), gain=1.1), path, prefix="model.")
    return Files({**SETTINGS, "weights": str(path)}, are_real=False)
