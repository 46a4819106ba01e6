"""DKM with GIM's weights: a dense warp by Gaussian processes and convolutions, and correspondences drawn from it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gim.matchers.network import ModelResources
from gim.matchers.nn.two_pass import TwoPassConfig, TwoPassMatcher


@dataclass(frozen=True, slots=True)
class DkmConfig(TwoPassConfig):
    """Which weights, the sizes of the two passes, and what is drawn from the warps."""

    weights: str = "gim_dkm_100h"  # name in the catalogue, or path of a file; DKM's own fit, too
    width_px: int = 896  # of the first pass: the size of training and of labelling, for portrait images too
    height_px: int = 672
    fine_width_px: int = 1536  # of the second pass, which refines the warp of the first; both 0 = no second pass
    fine_height_px: int = 1152


class Dkm(TwoPassMatcher):
    """DKM (Edstedt et al., CVPR 2023), version 3."""

    name: ClassVar[str] = "dkm"

    def __init__(self, config: DkmConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)

    def _build(self, device: Any) -> Any:
        from gim.matchers.nn.dkm import DKMv3  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import load_into, read_checkpoint, select  # noqa: PLC0415 - torch on use

        network = DKMv3()
        file = self.files["weights"]
        # The classifier of the ImageNet backbone, which some files still hold.
        state = select(read_checkpoint(file.path), "model.", drop=["encoder.net.fc."])
        load_into(network, state, source=file.name)
        return self._ready(network, device)
