"""SuperPoint and SuperGlue in the layout of the two published files; made as for `superpoint_lightglue`."""

from pathlib import Path
from typing import Any

from tests.golden_weights import filled_like
from tests.matcher_files import Files
from tests.matcher_files.superpoint_lightglue import superpoint_state

# Few keypoints and iterations keep the suite quick; an untrained detector is sure of none.
SETTINGS: dict[str, Any] = {
    "max_keypoints": 200,
    "max_side_px": 320,
    "detection_threshold": 0.0,
    "sinkhorn_iterations": 20,
}


def make(folder: Path, shared: Path | None) -> Files:
    """No trained weights of either are free enough to be among the sample data."""
    import torch

    detector, matcher = folder / "superpoint_v1.pth", folder / "superglue_outdoor.pth"
    torch.save(superpoint_state(), detector)
    torch.save(superglue_state(), matcher)
    return Files({**SETTINGS, "weights": str(matcher), "superpoint_weights": str(detector)}, are_real=False)


def superglue_state() -> dict:
    """Tensors by the names of superglue_outdoor.pth; the layers add little to the descriptors."""
    from gim.matchers.nn.superglue import SuperGlue

    state = filled_like(SuperGlue(sinkhorn_iterations=1), gain=[["final_proj", 16.0], [".*", 0.4]])
    is_last = ("mlp.3", "encoder.12")
    return {key: tensor * (0.01 if any(part in key for part in is_last) else 1) for key, tensor in state.items()}
