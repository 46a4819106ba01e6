"""LoFTR on grey images (Sun et al., CVPR 2021): how it is trained.

**Network.** The matcher's own modules (`gim.matchers.nn.loftr`, kornia's): backbone, position encoding, coarse
attention, fine windows and attention. `position_encoding` says how positions are encoded, as the matcher's setting of
that name does: by default as LoFTR's first release computed it (kornia's `temp_bug_fix=False`), which is what the
matcher takes for a file that its catalogue says nothing of, so that trained weights load into it unchanged. A run with
`corrected` says so in `matcher_settings`. The matcher reads cell (column, row) as the position 8 (column, row) counted
from the image's corner; truths and labels are put on the grid by the same rule. Cells whose pixel is not valid take no
part in attention, soft-maxes or losses.

**Loss under a dense truth** (homographies, posed images with depth), as LoFTR has it, Sec. 3.5:

- coarse: cells that are each other's nearest under the truth, seen in both images, are right. Focal loss of their
  confidences, -alpha (1 - P)^gamma log P, alpha 0.25, gamma 2, mean; plus, times `wrong_weight`, the mean of
  -alpha P^gamma log(1 - P) over wrong pairs. Wrong is a pair of cells that is not right while the truth says where one
  of the two lies; where it says nothing of either (no depth) there is no loss. LoFTR's code counts those too.
- fine: for right pairs, and those that the network finds so far and that hold the truth inside their window of 5 x 5,
  the squared distance of the expected place to the true one, weighted by 1/std. The paper divides by the variance,
  the published code by the deviation; weights are taken over their mean and have no gradient. LoFTR's code fills up
  with repeated right pairs, drawn at random; here each counts once and nothing is random.

**Loss on video labels**, as GIM's training code has it (reference/gim.md 3c): nothing is known but the labels.

- coarse: features between the four cells around both ends of each label, bilinear; their dual soft-max, temperature
  0.1, among all labels and all cells; the focal loss of each label's own confidence, mean over the labels of a pair of
  images, then over pairs. Cells are rivals of labelled pixels in those soft-maxes. No pair of two cells has a target,
  so that which unlabelled pixels match has no gradient, neither towards matching nor away from it.
- fine: windows around the cells nearest to both ends; the feature of image 0 is taken from its window at the label's
  own place between the cells, its expected place in image 1 is held to the label's, weighted as above.
- with `label_clearance_px` 0, as GIM has it, a label also competes with the cells that its feature is made of, so the
  loss of a perfect network is above zero; a clearance of one cell or two leaves those out.

The sum of both parts is the loss. Logarithms of confidences are computed as such, not of clamped confidences, so that a
match of confidence below 1e-6 has a gradient, where the published code's has none.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from kornia.feature import LoFTR
from kornia.feature.loftr.loftr import default_cfg

from gim.errors import ConfigError
from gim.training.models._loftr_settings import LoftrLossConfig
from gim.training.models._loftr_trainable import LoftrTrainable
from gim.training.models._settings import model_settings
from gim.weights.config import WeightsConfig

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as `gim.geometry.colour.to_grey`


@dataclass(frozen=True, slots=True)
class LoftrTrainingConfig(LoftrLossConfig):
    """What LoFTR is taught by, and its size. The matcher loads weights of the published size only."""

    widths: tuple[int, int, int] = (128, 196, 256)  # channels at 1/2, 1/4 and 1/8; smaller ones are for tests
    num_heads: int = 8
    num_coarse_layers: int = 4  # each attends within the images, then between them
    num_fine_layers: int = 1

    def __post_init__(self) -> None:
        LoftrLossConfig.__post_init__(self)  # `super()` does not find the class that `slots` makes anew
        fine, _, coarse = self.widths
        if min(self.num_heads, self.num_coarse_layers, self.num_fine_layers, *self.widths) < 1:
            raise ConfigError(f"LoFTR needs widths, heads and layers of at least 1; got {self}")
        if fine % self.num_heads or coarse % self.num_heads or coarse % 4:
            raise ConfigError(
                f"LoFTR needs widths {fine} and {coarse} that are multiples of its {self.num_heads} heads, and the "
                "last one of 4, for its position encoding"
            )


class Loftr(LoftrTrainable):
    """LoFTR on grey images, from scratch or from published weights."""

    architecture: ClassVar[str] = "loftr"
    matcher: ClassVar[str] = "loftr"

    def __init__(self, config: LoftrTrainingConfig) -> None:
        super().__init__(_network(config), config)

    def _channels(self, images: torch.Tensor) -> torch.Tensor:
        return (images * images.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)


def _network(config: LoftrTrainingConfig) -> LoFTR:
    """`gim.matchers.nn.loftr.loftr_network` of any size."""
    settings: dict[str, Any] = copy.deepcopy(default_cfg)
    fine, _, coarse = config.widths
    settings["resnetfpn"] = {"initial_dim": fine, "block_dims": list(config.widths)}
    settings["coarse"] |= {
        "d_model": coarse,
        "nhead": config.num_heads,
        "layer_names": ["self", "cross"] * config.num_coarse_layers,
        "temp_bug_fix": config.has_corrected_positions,
    }
    settings["fine"] |= {
        "d_model": fine,
        "nhead": config.num_heads,
        "layer_names": ["self", "cross"] * config.num_fine_layers,
    }
    return LoFTR(pretrained=None, config=settings)


def build(settings: Mapping[str, Any], _weights: WeightsConfig | None = None) -> Loftr:
    """LoFTR to be trained, under a recipe's `model` settings.

    Raises:
        ConfigError: a setting that it does not have, or a value it cannot take.
    """
    return Loftr(model_settings(LoftrTrainingConfig, settings, Loftr.architecture))
