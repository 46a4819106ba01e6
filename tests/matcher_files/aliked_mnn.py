"""ALIKED with its real weights; without the sample data, weights filled by rule."""

from pathlib import Path

from tests.matcher_files import Accuracy, Files

IS_TRAINED = True
ACCURACY = Accuracy(median_px=0.45, bias_px=0.12)  # its soft maximum pulls to the pixel grid, up and to the left


def make(folder: Path, shared: Path | None) -> Files:
    """The published n16."""
    return Files({"aliked_weights": str(aliked_file(folder, shared))}, are_real=shared is not None)


def aliked_file(folder: Path, shared: Path | None) -> Path:
    """A file of ALIKED n16."""
    if shared is not None:
        return shared / "weights/permissive/aliked-n16.pth"
    import torch
    from kornia.feature import ALIKED

    from tests.golden_weights import filled_like

    state = filled_like(ALIKED("aliked-n16"))
    del state["dkd.hw_grid"]
    torch.save(state, folder / "aliked-n16.pth")
    return folder / "aliked-n16.pth"
