"""torchvision's LR-ASPP on MobileNetV3: the classes of `deeplabv3`, coarser, fast enough for a CPU. Knows no sky."""

from typing import Any, ClassVar

from gim.video.segmenters.network import NetworkSegmenter
from gim.video.segmenters.vocabulary import VOC


class LiteRaspp(NetworkSegmenter):
    """LR-ASPP on MobileNetV3-Large (Howard et al., ICCV 2019), trained on COCO with the 20 classes of VOC."""

    name: ClassVar[str] = "lraspp"
    licence: ClassVar[str] = "BSD-3-Clause"
    classes: ClassVar[tuple[str, ...]] = VOC
    published_weights: ClassVar[tuple[str, ...]] = ("lraspp_mobilenet_v3_large_coco",)

    def _build(self) -> Any:
        from gim.video.segmenters.nn import headed  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import load_into, read_checkpoint  # noqa: PLC0415 - torch on use

        (file,) = self.files
        network = headed.LiteRaspp(len(self.classes))
        load_into(network, read_checkpoint(file.path), source=file.name)
        return network
