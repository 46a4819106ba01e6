"""The segmenter GIM used: 150 classes of everyday scenes, sky among them. Slow without a GPU."""

from typing import Any, ClassVar

from gim.video.segmenters.network import NetworkSegmenter
from gim.video.segmenters.vocabulary import ADE20K

# The branch that only helped to train it, and statistics its own synchronised batch normalisation kept besides.
_NOT_USED = ("deepsup", "_tmp_running_mean", "_tmp_running_var", "_running_iter")


class Ade20k(NetworkSegmenter):
    """ResNet50-dilated + PPM_deepsup of the ADE20K benchmark (Zhou et al., IJCV 2019), as published by MIT CSAIL."""

    name: ClassVar[str] = "ade20k"
    licence: ClassVar[str] = "Apache-2.0"
    classes: ClassVar[tuple[str, ...]] = ADE20K
    published_weights: ClassVar[tuple[str, ...]] = ("ade20k_encoder", "ade20k_decoder")

    def _build(self) -> Any:
        from gim.video.segmenters.nn.ade20k import SceneParser  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import load_into, read_checkpoint, select  # noqa: PLC0415 - torch on use

        parser = SceneParser()
        for part, file in zip((parser.encoder, parser.decoder), self.files, strict=True):
            state = select(read_checkpoint(file.path), drop=_NOT_USED)
            # Files older than torch 0.4.1 do not count batches; the count changes nothing once trained.
            counts = [key for key in part.state_dict() if key.endswith("num_batches_tracked")]
            load_into(part, state, source=file.name, may_miss=counts)
        return parser.eval()
