"""SuperPoint and LightGlue in the layout of GIM's file: one for both, `superpoint.` and `model.`.

Filled by rule, not trained, yet they match: descriptors are made to tell places apart, LightGlue to let them through
nearly as they are. Keypoints lie anywhere, but move with an image that moves by whole cells of 8 pixels.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.golden_weights import filled_like, save_checkpoint
from tests.matcher_files import Files

SETTINGS: dict[str, Any] = {"max_keypoints": 200, "max_side_px": 320}  # few, to keep the suite quick


def make(folder: Path, shared: Path | None) -> Files:
    """No trained SuperPoint is small enough, and free enough, to be among the sample data."""
    path = folder / "gim_lightglue_100h.ckpt"
    state = {f"superpoint.{key}": tensor for key, tensor in superpoint_state().items()}
    state |= {f"model.{key}": tensor for key, tensor in lightglue_state().items()}
    save_checkpoint(state, path)
    return Files({**SETTINGS, "weights": str(path)}, are_real=False)


def superpoint_state() -> dict:
    """Tensors by the names of superpoint_v1.pth; the last layer of the descriptors whitens what the others give."""
    import torch

    from gim.matchers.nn.superpoint import SuperPoint

    network = SuperPoint().eval()
    network.load_state_dict(filled_like(network, gain=1.4))
    inputs = []
    network.convDb.register_forward_hook(lambda module, given, output: inputs.append(given[0]))
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((256, 256), np.float32), None, 2)
    with torch.inference_mode():
        network(torch.from_numpy(cv2.normalize(noise, None, 0, 1, cv2.NORM_MINMAX))[None, None])
    cells = inputs[0][0].flatten(1).double()
    mean = cells.mean(1, keepdim=True)
    directions, strengths, _ = torch.linalg.svd(cells - mean, full_matrices=False)
    whitening = directions.T / (strengths[:, None] + 1e-3 * strengths[0])
    state = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
    state["convDb.weight"] = whitening.float()[:, :, None, None].contiguous()
    state["convDb.bias"] = -(whitening @ mean)[:, 0].float()
    return state


def lightglue_state(**architecture: int) -> dict:
    """Tensors by the names of a published file, which lacks the derived buffer."""
    from gim.matchers.nn.lightglue import LightGlueNetwork

    state = filled_like(LightGlueNetwork(**architecture), gain=[["final_proj", 24.0], [".*", 0.4]])
    del state["confidence_thresholds"]
    return {key: tensor * (0.01 if "ffn.3" in key else 1) for key, tensor in state.items()}
