"""Settings that both LoFTRs share in training, and how a recipe's are read."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from gim.errors import ConfigError
from gim.training.models._loftr_coarse import Focal

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True)
class LoftrLossConfig:
    """What a LoFTR is taught by. Defaults are LoFTR's own (zju3dv/LoFTR, src/config/default.py)."""

    # As the matcher's setting of the same name: positions as the first release computed them, or as in the paper.
    position_encoding: Literal["first_release", "corrected"] = "first_release"
    temperature: float = 0.1  # of the soft-max over similarities
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    coarse_weight: float = 1.0
    wrong_weight: float = 1.0  # of pairs of cells that do not match, within the coarse loss; 0: right ones alone count
    fine_weight: float = 1.0
    fine_share: float = 0.2  # matches refined under a dense truth: at most so many, as a share of an image's cells ...
    min_fine_truth: int = 200  # ... of which so many, where there are, are the truth's own and not found ones
    match_threshold: float = 0.2  # smallest confidence of a found match, exclusive
    label_clearance_px: float = 0.0  # what lies nearer to a label's end counts neither for nor against it

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 <= self.match_threshold < 1:
            raise ConfigError(
                "LoFTR needs temperature > 0 and 0 <= match_threshold < 1; got "
                f"{self.temperature} and {self.match_threshold}"
            )
        # Between 0 and 1 the loss of a sure match would have an infinite gradient.
        if self.focal_alpha < 0 or not (self.focal_gamma == 0 or self.focal_gamma >= 1):
            raise ConfigError(
                f"LoFTR needs focal_alpha >= 0 and focal_gamma 0 or >= 1; got {self.focal_alpha} and {self.focal_gamma}"
            )
        weights = {
            name: getattr(self, name)
            for name in ("coarse_weight", "wrong_weight", "fine_weight", "fine_share", "label_clearance_px")
        }
        if min(weights.values()) < 0 or self.min_fine_truth < 0:
            raise ConfigError(f"LoFTR's weights and shares are at least 0; got {weights}, {self.min_fine_truth}")

    @property
    def focal(self) -> Focal:
        """The focal loss of these numbers."""
        return Focal(self.focal_alpha, self.focal_gamma)

    @property
    def has_corrected_positions(self) -> bool:
        """Whether positions are encoded as in the paper."""
        return self.position_encoding == "corrected"
