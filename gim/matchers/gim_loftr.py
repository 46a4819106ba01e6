"""GIM's LoFTR: the same matcher on colour images, with a larger backbone and weights learned from videos."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.geometry.colour import to_rgb
from gim.matchers.loftr import Loftr, LoftrConfig
from gim.matchers.network import ModelResources
from gim.records import Uint8Array


@dataclass(frozen=True, slots=True)
class GimLoftrConfig(LoftrConfig):
    """As LoFTR's. The original labels at `max_side_px` 1920."""

    weights: str = "gim_loftr_50h"  # name in the catalogue, or path of a file


class GimLoftr(Loftr):
    """LoFTR on RGB with a ResNet50 backbone, trained on internet videos (GIM, ICLR 2024)."""

    name: ClassVar[str] = "gim_loftr"

    def __init__(self, config: GimLoftrConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)

    def _architecture(self) -> Any:
        from gim.matchers.nn.loftr import gim_loftr_network  # noqa: PLC0415 - torch on use

        return gim_loftr_network(has_corrected_positions=self._has_corrected_positions)

    def _channels(self, image: Uint8Array) -> Uint8Array:
        """RGB as it is: GIM normalises by no statistics. Grey is the same in all channels."""
        return to_rgb(image)
