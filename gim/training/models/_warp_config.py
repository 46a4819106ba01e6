"""Settings that DKM and RoMa share in training."""

from dataclasses import dataclass

from gim.errors import ConfigError
from gim.training.models._warp_pairs import Directions


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpConfig:
    """What a warp is trained on, besides its distances."""

    directions: Directions = "both"  # the authors and GIM: forward; both gives twice the supervision per encoded image
    certainty_weight: float = 0.01  # of the certainty's cross-entropy (GIM, DKM and RoMa alike)
    certainty_off: tuple[str, ...] = ()  # parts of the mixture whose certainty is measured, not trained
    backbone_weights: str = ""  # torchvision's file for ImageNet, to start the encoder with; empty: at random

    def __post_init__(self) -> None:
        if self.certainty_weight < 0:
            raise ConfigError(f"model.certainty_weight must be at least 0, got {self.certainty_weight}")
