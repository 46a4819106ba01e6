"""RoMa with GIM's weights: a dense warp, robust by the features of DINOv2, and correspondences drawn from it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.errors import ConfigError
from gim.matchers.network import ModelResources
from gim.matchers.nn.two_pass import TwoPassConfig, TwoPassMatcher

_PATCH_PX = 14  # of DINOv2


@dataclass(frozen=True, slots=True)
class RomaConfig(TwoPassConfig):
    """Which weights, the sizes of the two passes, and what is drawn from the warps."""

    weights: str = "gim_roma_100h"  # name in the catalogue, or path of a file; RoMa's own fit, too
    dinov2_weights: str = "dinov2_vitl14"  # of the backbone, which the file above does not hold
    width_px: int = 672  # of the first pass: the size of training; multiples of 14, the side of DINOv2's patches
    height_px: int = 672
    fine_width_px: int = 1344  # of the second pass, which refines the warp of the first; both 0 = no second pass
    fine_height_px: int = 1344

    def __post_init__(self) -> None:
        # With slots the class is made anew, and super() without arguments would not find it.
        TwoPassConfig.__post_init__(self)
        if self.width_px % _PATCH_PX or self.height_px % _PATCH_PX:
            raise ConfigError(
                f"RoMa needs width_px and height_px divisible by {_PATCH_PX}, the side of DINOv2's patches; got "
                f"{self.width_px} and {self.height_px}"
            )


class Roma(TwoPassMatcher):
    """RoMa (Edstedt et al., CVPR 2024)."""

    name: ClassVar[str] = "roma"
    weight_fields: ClassVar[tuple[str, ...]] = ("weights", "dinov2_weights")

    def __init__(self, config: RomaConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)

    def _build(self, device: Any) -> Any:
        from gim.matchers.nn.roma import RoMa  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import load_into, read_checkpoint, select  # noqa: PLC0415 - torch on use

        network = RoMa()
        for field, part in (("weights", network.matcher), ("dinov2_weights", network.dinov2)):
            file = self.files[field]
            load_into(part, select(read_checkpoint(file.path), "model."), source=file.name)
        return self._ready(network, device)
