"""DKM's weights by the fill rule, in the layout of gim_dkm_100h.ckpt."""

from pathlib import Path
from typing import Any

from tests.golden_weights import Gain, filled_like, save_checkpoint
from tests.matcher_files import Files

SETTINGS: dict[str, Any] = {
    "width_px": 64,
    "height_px": 48,
    "fine_width_px": 80,
    "fine_height_px": 64,
    "num_matches": 500,
}
GAIN: Gain = [[r"conv_refiner\.(16|8|4|2|1)\.out_conv", 4.0], ["terminal_module", -2.2], [".*", 1.0]]


def make(folder: Path, shared: Path | None) -> Files:
    """No trained DKM is small enough to be among the sample data."""
    from gim.matchers.nn.dkm import DKMv3

    path = save_checkpoint(filled_like(DKMv3(), GAIN), folder / "gim_dkm_100h.ckpt", prefix="model.")
    return Files({**SETTINGS, "weights": str(path)}, are_real=False)
