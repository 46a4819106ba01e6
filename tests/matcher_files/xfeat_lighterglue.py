"""XFeat with LighterGlue's first three layers, both real; without the sample data, weights filled by rule."""

from pathlib import Path

from tests.matcher_files import Accuracy, Files
from tests.matcher_files.superpoint_lightglue import lightglue_state
from tests.matcher_files.xfeat import xfeat_file

IS_TRAINED = True
ACCURACY = Accuracy(median_px=0.75, bias_px=0.15, scaled_share=0.65, epipolar_share=0.7)  # keypoints are whole pixels


def make(folder: Path, shared: Path | None) -> Files:
    """Files of both networks."""
    settings = {"xfeat_weights": str(xfeat_file(folder, shared))}
    if shared is not None:
        return Files(settings | {"weights": str(shared / "weights/permissive/xfeat_lighterglue_L3.pt")})
    import torch

    path = folder / "xfeat-lighterglue.pt"
    state = lightglue_state(input_dim=64, descriptor_dim=96, n_layers=6, num_heads=1)
    torch.save({f"matcher.{key}": tensor for key, tensor in state.items()}, path)
    return Files(settings | {"weights": str(path), "max_keypoints": 200}, are_real=False)
