"""RoMa's and DINOv2's weights by the fill rule, in the layout of the published files: 1.7 GB, hence slow."""

from pathlib import Path
from typing import Any

from tests.golden_weights import Gain, fill, save_checkpoint
from tests.matcher_files import Files

IS_SLOW = True
SETTINGS: dict[str, Any] = {
    "width_px": 70,
    "height_px": 56,
    "fine_width_px": 80,
    "fine_height_px": 64,
    "num_matches": 500,
}
GAIN: Gain = [
    [r"^dinov2\.patch_embed", 4.0],
    [r"attn\.proj\.weight", 0.2],
    [r"^dinov2\.", 1.0],
    [r"conv_refiner\.\d+\.out_conv", 4.0],
    [r"embedding_decoder\.to_out", 1.0],
    [r"decoder\.proj\.16", 2.0],
    [r".*", 1.0],
]


def make(folder: Path, shared: Path | None) -> Files:
    """No trained RoMa is small enough to be among the sample data."""
    import torch

    from gim.matchers.nn.roma import RomaMatcher, dinov2_vitl14

    def filled(network: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
        tensors = network.state_dict().items()
        return {
            name: torch.from_numpy(fill(prefix + name, item.shape, str(item.dtype), GAIN)) for name, item in tensors
        }

    paths = folder / "gim_roma_100h.ckpt", folder / "dinov2_vitl14_pretrain.pth"
    save_checkpoint(filled(RomaMatcher(), ""), paths[0], prefix="model.")
    torch.save(filled(dinov2_vitl14(), "dinov2."), paths[1])
    return Files({**SETTINGS, "weights": str(paths[0]), "dinov2_weights": str(paths[1])}, are_real=False)
