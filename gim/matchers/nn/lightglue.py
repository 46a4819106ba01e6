"""LightGlue (Lindenberger et al., ICCV 2023) over the layers of kornia, for batches of pairs, in one precision plan.

kornia's own `forward` is not used: it rounds the assignment to the precision of the attention, turns descriptors into
float16 whatever the settings say, and waits for the device to check its input. Pruning and early stopping are off, as
in GIM: they pay for single pairs, and a batch would end with its slowest.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from kornia.feature import LightGlue
from kornia.feature.lightglue import CrossBlock, sigmoid_log_double_softmax
from torch.nn.functional import scaled_dot_product_attention

from gim.errors import ShapeError
from gim.geometry.pixels import to_corner_origin
from gim.inference.config import InferenceConfig
from gim.matchers.nn.assignment import AssignmentMatcher, KeypointBatch
from gim.records import Features
from gim.weights.checkpoint import StateDict, load_into

_NEVER = -1e9  # a similarity that no soft-max gives a share
_WIDTH, _NUM_HEADS = 256, 4
DERIVED = "confidence_thresholds"  # a buffer made from the number of layers; no file has it


class LightGlueMatcher(AssignmentMatcher):
    """Matches features by LightGlue; they must say the size of their image."""

    def _inputs(self, features: Features) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return normalised_positions(features), features.descriptors


def load_lightglue(
    state: StateDict,
    *,
    source: str,
    device: torch.device,
    inference: InferenceConfig,
    filter_threshold: float,
    may_miss: Iterable[str] = (),
    input_dim: int = 256,
) -> LightGlueMatcher:
    """LightGlue with weights, ready to match. How many layers it has, and how wide they are, is told from the file.

    Args:
        state: its tensors; the layer names of the first release (`self_attn.0.`) are understood.
        source: what messages call the file.
        device: where it runs.
        inference: whether to compile.
        filter_threshold: least probability of a match.
        may_miss: keys the file need not have; see `early_exit_keys`.
        input_dim: length of the descriptors it matches.

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ.
    """
    state = renamed(state)
    network = LightGlueNetwork(input_dim=input_dim, **layer_sizes(state))
    load_into(network, state, source=source, may_miss=(DERIVED, *may_miss))
    return LightGlueMatcher(network.to(device), filter_threshold, inference)


def num_layers(state: StateDict) -> int:
    """How many layers a file holds, by today's names."""
    numbers = [key.split(".")[1] for key in state if key.startswith("transformers.")]
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=1)


def layer_sizes(state: StateDict) -> dict[str, int]:
    """Number, width and heads of the layers that a file holds, in kornia's words; the paper's where it does not say.

    Heads are told from the rotary encoding, which has an angle for every two channels of one.
    """
    sizes = {"n_layers": num_layers(state), "descriptor_dim": _WIDTH, "num_heads": _NUM_HEADS}
    angles, output = state.get("posenc.Wr.weight"), state.get("transformers.0.self_attn.out_proj.weight")
    if angles is None or output is None or output.ndim != 2 or not len(angles):
        return sizes  # not of LightGlue: what is missing is said when it is loaded
    width, channels = len(output), 2 * len(angles)
    return sizes | {"descriptor_dim": width, "num_heads": width // channels} if width % channels == 0 else sizes


def early_exit_keys(num_layers: int) -> list[str]:
    """Keys of the heads that only early stopping and pruning use; files for a fixed depth lack them."""
    heads = [f"log_assignment.{i}.{name}" for i in range(num_layers - 1) for name in ("matchability", "final_proj")]
    tokens = [f"token_confidence.{i}.token.0" for i in range(num_layers - 1)]
    return [f"{key}.{leaf}" for key in heads + tokens for leaf in ("weight", "bias")]


def renamed(state: StateDict) -> StateDict:
    """Tensors by today's names: the first release had `self_attn.0.` for `transformers.0.self_attn.`."""
    found = {}
    for key, tensor in state.items():
        block, _, rest = key.partition(".")
        number, _, leaf = rest.partition(".")
        is_old = block in {"self_attn", "cross_attn"} and number.isdigit()
        found[f"transformers.{number}.{block}.{leaf}" if is_old else key] = tensor
    return found


def normalised_positions(features: Features) -> np.ndarray[Any, Any]:
    """Keypoints float32 [N, 2] with the image's centre as origin and half its longer side as unit (Sec. 3.1).

    Raises:
        ShapeError: the features do not say the size of their image.
    """
    if features.image_size is None:
        raise ShapeError("features for LightGlue must say the size of their image")
    centre = np.array(features.image_size, np.float32) / 2
    return np.asarray((to_corner_origin(features.keypoints) - centre) / centre.max(), np.float32)


class Scores(NamedTuple):
    """What a layer says of the keypoints: all that its assignment is made of (Sec. 3.2)."""

    similarity: torch.Tensor  # float32 [B, M, N]; very low where a keypoint is padding
    logits0: torch.Tensor  # float32 [B, M, 1], of having a match at all
    logits1: torch.Tensor  # float32 [B, N, 1]


class LightGlueNetwork(LightGlue):
    """kornia's layers and names, our forward."""

    def __init__(self, **architecture: int) -> None:
        # kornia's attention turns off flash attention for the whole process when it is made: put back what was set.
        was_enabled = bool(torch.backends.cuda.flash_sdp_enabled())  # type: ignore[no-untyped-call]
        try:
            super().__init__(
                features=None,  # type: ignore[arg-type] # documented: builds from the rest, and downloads nothing
                depth_confidence=-1,
                width_confidence=-1,
                flash=False,
                **architecture,
            )
        finally:
            torch.backends.cuda.enable_flash_sdp(was_enabled)
        for layer in self.transformers:
            layer.cross_attn = _CrossBlock(self.conf.descriptor_dim, self.conf.num_heads)

    def forward(  # type: ignore[override] # batches, so that it compiles; kornia's takes a dictionary
        self, batch0: KeypointBatch, batch1: KeypointBatch
    ) -> torch.Tensor:
        """Log assignment float32 [B, M + 1, N + 1]; what it says of padding means nothing.

        Args:
            batch0: M keypoints of each first image, places normalised.
            batch1: N keypoints of each second image.
        """
        x0, x1 = self.input_proj(batch0.descriptors), self.input_proj(batch1.descriptors)
        encoding0, encoding1 = self.encode(batch0.places), self.encode(batch1.places)
        mask0, mask1 = batch0.attention_mask, batch1.attention_mask
        layer: Any  # of kornia, untyped
        for layer in self.transformers:
            x0, x1 = layer.self_attn(x0, encoding0, mask0), layer.self_attn(x1, encoding1, mask1)
            x0, x1 = layer.cross_attn(x0, x1, mask0, mask1)
        # Sums of two log-softmaxes lie close together; bfloat16 would make ties of them.
        with torch.autocast(x0.device.type, enabled=False):
            scores = self.scores(-1, x0.float(), x1.float(), batch0.is_real, batch1.is_real)
            log_assignment: torch.Tensor = sigmoid_log_double_softmax(*scores)
            return log_assignment

    def scores(
        self,
        number: int,
        x0: torch.Tensor,
        x1: torch.Tensor,
        is_real0: torch.Tensor | None,
        is_real1: torch.Tensor | None,
    ) -> Scores:
        """What the head of a layer says of states [B, M, D] and [B, N, D] after it.

        The assignment is the similarity under both soft-maxes, times both keypoints' matchability (Eq. 8).
        """
        head: Any = self.log_assignment[number]
        similarity = head.final_proj(x0) @ head.final_proj(x1).transpose(1, 2) / math.sqrt(self.conf.descriptor_dim)
        for is_real, axis in ((is_real0, 2), (is_real1, 1)):
            if is_real is not None:  # a finite number: a row of padding alone would else be no number at all
                similarity = similarity.masked_fill(~is_real.unsqueeze(axis), _NEVER)
        return Scores(similarity, head.matchability(x0), head.matchability(x1))

    def encode(self, positions: torch.Tensor) -> torch.Tensor:
        """Rotary encoding (Sec. 3.1), the angle in float32: half precision knows a position to some ten pixels."""
        kind = positions.device.type
        with torch.autocast(kind, enabled=False):
            encoding: torch.Tensor = self.posenc(positions)
        return encoding.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else encoding


class _CrossBlock(CrossBlock):
    """kornia's cross attention through torch's kernel, which never holds the four [M, N] matrices of a layer."""

    def forward(
        self,
        x0: torch.Tensor,
        x1: torch.Tensor,
        mask0: torch.Tensor | None = None,
        mask1: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        queries0, queries1 = self._heads(self.to_qk(x0)), self._heads(self.to_qk(x1))
        message0 = scaled_dot_product_attention(queries0, queries1, self._heads(self.to_v(x1)), attn_mask=mask1)
        message1 = scaled_dot_product_attention(queries1, queries0, self._heads(self.to_v(x0)), attn_mask=mask0)
        return self._update(x0, message0), self._update(x1, message1)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [B, heads, N, D / heads]

    def _update(self, x: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        updated: torch.Tensor = x + self.ffn(torch.cat([x, self.to_out(message.transpose(1, 2).flatten(-2))], -1))
        return updated
