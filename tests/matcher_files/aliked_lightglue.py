"""ALIKED with its real weights, and a LightGlue filled by rule: no trained one is small enough for the sample data."""

from pathlib import Path

from tests.matcher_files import Files
from tests.matcher_files.aliked_mnn import aliked_file
from tests.matcher_files.superpoint_lightglue import lightglue_state


def make(folder: Path, shared: Path | None) -> Files:
    """The layout of the published files."""
    import torch

    path = folder / "aliked_lightglue.pth"
    torch.save(lightglue_state(input_dim=128), path)
    files = {"aliked_weights": str(aliked_file(folder, shared)), "weights": str(path)}
    return Files({**files, "max_keypoints": 200, "max_side_px": 160}, are_real=False)
