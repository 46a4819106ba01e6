"""torchvision's DeepLabV3: people, vehicles and animals, with permissive weights anybody can fetch. Knows no sky."""

from typing import Any, ClassVar

from gim.video.segmenters.network import NetworkSegmenter
from gim.video.segmenters.vocabulary import VOC


class DeepLabV3(NetworkSegmenter):
    """DeepLabV3 on a dilated ResNet50 (Chen et al., arXiv 1706.05587), trained on COCO with the 20 classes of VOC."""

    name: ClassVar[str] = "deeplabv3"
    licence: ClassVar[str] = "BSD-3-Clause"
    classes: ClassVar[tuple[str, ...]] = VOC
    published_weights: ClassVar[tuple[str, ...]] = ("deeplabv3_resnet50_coco",)

    def _build(self) -> Any:
        from gim.video.segmenters.nn import headed  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import load_into, read_checkpoint, select  # noqa: PLC0415 - torch on use

        (file,) = self.files
        network = headed.DeepLabV3(len(self.classes))
        # The auxiliary classifier only helped to train it.
        load_into(network, select(read_checkpoint(file.path), drop=("aux_classifier.",)), source=file.name)
        return network
