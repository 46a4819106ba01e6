"""DeDoDe filled by rule, in the layout of the published files."""

from pathlib import Path

from tests.golden_weights import filled_like
from tests.matcher_files import Files

IS_SLOW = True


def make(folder: Path, shared: Path | None) -> Files:
    """One file for the detector, one for the descriptor."""
    import torch
    from kornia.feature import DeDoDe

    network = DeDoDe("L", "B", amp_dtype=torch.float32)
    paths = {}
    for part in ("detector", "descriptor"):
        path = folder / f"dedode_{part}.pth"
        torch.save(filled_like(getattr(network, part)), path)
        paths[f"{part}_weights"] = str(path)
    return Files({**paths, "max_keypoints": 200, "max_side_px": 160}, are_real=False)
