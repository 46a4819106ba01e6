"""LoFTR's weights by the fill rule, in the layout of the published outdoor_ds.ckpt."""

from pathlib import Path
from typing import Any

from tests.golden_weights import filled_like, save_checkpoint
from tests.matcher_files import Files

# Untrained confidences are about one over the number of cells; small images keep the suite quick.
SETTINGS: dict[str, Any] = {"max_side_px": 256, "match_threshold": 1e-5}


def make(folder: Path, shared: Path | None) -> Files:
    """No trained LoFTR is small enough to be among the sample data."""
    from gim.matchers.nn.loftr import loftr_network

    path = save_checkpoint(filled_like(loftr_network(), gain=1.1), folder / "outdoor_ds.ckpt", prefix="matcher.")
    return Files({**SETTINGS, "weights": str(path)}, are_real=False)
