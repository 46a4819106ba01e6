"""GIM's LoFTR (Shen et al., ICLR 2024): LoFTR on RGB with a ResNet50, and how it is trained.

**Network.** The matcher's own (`gim.matchers.nn.loftr.gim_loftr_network`); positions and padding as in `loftr`.
GIM's training code encodes positions as in the paper (`corrected`) and its inference as the first release did; the
default here is the matcher's, so that trained weights load into it unchanged.

**Losses** are those that `loftr` states, with the numbers of GIM's training code (branch train-gim-loftr,
modules/config.py and modules/loss.py; reference/gim.md 3c):

- under a dense truth the coarse loss has its right matches only (`wrong_weight` 0): GIM computes the wrong ones' and
  leaves them out of the sum, other than LoFTR;
- 0.3 of the cells are refined, 100 of which are the truth's;
- on video labels as in `loftr`; the reader draws at most 2048 of a pair (`sample.max_labels`).

The group "encoder" is the ResNet50, whose learning rate GIM takes times 0.1. `load_published` also takes torchvision's
ResNet50 as GIM's training starts from: its first stages become the encoder, all else stays as it was initialised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import nn

from gim.matchers.nn.loftr import gim_loftr_network
from gim.matchers.nn.resnet_fpn import ResNet50FPN
from gim.training.models._loftr_settings import LoftrLossConfig
from gim.training.models._loftr_trainable import LoftrTrainable
from gim.training.models._settings import model_settings
from gim.training.models._start import load_to_train
from gim.weights.checkpoint import StateDict
from gim.weights.config import WeightsConfig

_LAST_STAGE = ("layer4.", "fc.")  # of torchvision's ResNet50, which the backbone has not


@dataclass(frozen=True, slots=True)
class GimLoftrTrainingConfig(LoftrLossConfig):
    """As LoFTR's, with GIM's numbers."""

    wrong_weight: float = 0.0
    fine_share: float = 0.3
    min_fine_truth: int = 100


class GimLoftr(LoftrTrainable):
    """LoFTR on RGB with a ResNet50 backbone."""

    architecture: ClassVar[str] = "gim_loftr"
    matcher: ClassVar[str] = "gim_loftr"

    def __init__(self, config: GimLoftrTrainingConfig) -> None:
        network = gim_loftr_network(has_corrected_positions=config.has_corrected_positions)
        _initialise(cast("nn.Module", network.backbone))
        super().__init__(network, config)

    def load_published(self, state: StateDict, source: str) -> None:
        """Start from GIM's file, or from torchvision's ResNet50.

        Raises:
            InvalidInput: weights of another architecture.
        """
        if "conv1.weight" in state and any(name.startswith(_LAST_STAGE) for name in state):
            kept = {name: tensor for name, tensor in state.items() if not name.startswith(_LAST_STAGE)}
            load_to_train(self._encoder(), kept, source)
        else:
            super().load_published(state, source)

    def _encoder(self) -> nn.Module:
        return cast("ResNet50FPN", self.network.backbone).encode


def _initialise(backbone: nn.Module) -> None:
    """As torchvision's ResNet50 and LoFTR's own backbone begin (He et al., ICCV 2015)."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build(settings: Mapping[str, Any], _weights: WeightsConfig | None = None) -> GimLoftr:
    """GIM's LoFTR to be trained, under a recipe's `model` settings.

    Raises:
        ConfigError: a setting that it does not have, or a value it cannot take.
    """
    return GimLoftr(model_settings(GimLoftrTrainingConfig, settings, GimLoftr.architecture))
