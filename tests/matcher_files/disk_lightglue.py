"""DISK and LightGlue filled by rule, in the layout of the published files."""

from pathlib import Path

from tests.golden_weights import filled_like
from tests.matcher_files import Files
from tests.matcher_files.superpoint_lightglue import lightglue_state


def make(folder: Path, shared: Path | None) -> Files:
    """DISK's tensors stand under `extractor`, beside what its training kept."""
    import torch
    from kornia.feature import DISK

    disk, lightglue = folder / "depth-save.pth", folder / "disk_lightglue.pth"
    torch.save({"extractor": filled_like(DISK()), "step": 1}, disk)
    torch.save(lightglue_state(input_dim=128), lightglue)
    settings = {"disk_weights": str(disk), "weights": str(lightglue), "max_keypoints": 200, "max_side_px": 160}
    return Files(settings, are_real=False)
