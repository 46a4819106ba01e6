"""XFeat with its real weights; without the sample data, weights filled by rule."""

from pathlib import Path

from tests.matcher_files import Accuracy, Files

IS_TRAINED = True
ACCURACY = Accuracy(median_px=0.75, bias_px=0.15, scaled_share=0.4, epipolar_share=0.6)  # keypoints are whole pixels


def make(folder: Path, shared: Path | None) -> Files:
    """The published weights."""
    return Files({"xfeat_weights": str(xfeat_file(folder, shared))}, are_real=shared is not None)


def xfeat_file(folder: Path, shared: Path | None) -> Path:
    """A file of XFeat."""
    if shared is not None:
        return shared / "weights/permissive/xfeat_folded.pt"
    import torch
    from kornia.feature import XFeat

    from tests.golden_weights import filled_like

    torch.save(filled_like(XFeat().net, gain=[["keypoint_head", 2.0], [".*", 1.0]]), folder / "xfeat.pt")
    return folder / "xfeat.pt"
