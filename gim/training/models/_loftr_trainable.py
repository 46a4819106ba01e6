"""What both LoFTRs have in common as things to train; their losses are stated in `loftr` and `gim_loftr`.

The networks are the matchers' own, in training mode.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from kornia.feature import LoFTR

from gim.errors import ConfigError
from gim.training.batches import ImageBatch, LabelsBatch
from gim.training.collate import image_batch
from gim.training.models._loftr_dense import dense_parts
from gim.training.models._loftr_encoded import Parts, encode
from gim.training.models._loftr_grid import STRIDE_PX
from gim.training.models._loftr_labels import label_parts
from gim.training.models._loftr_settings import LoftrLossConfig
from gim.training.models._start import load_to_train
from gim.training.models.base import Loss, Trainable
from gim.training.samples import Sample
from gim.weights.checkpoint import StateDict, select


class LoftrTrainable(Trainable):
    """A LoFTR network with its losses."""

    sees: ClassVar[Literal["images", "features"]] = "images"

    def __init__(self, network: LoFTR, config: LoftrLossConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def collate(self, samples: Sequence[Sample]) -> ImageBatch:
        """Samples whose images have one size, with sides that are multiples of 8.

        Raises:
            ConfigError: sides are no multiples of 8.
        """
        height, width = samples[0].image0.shape[:2]
        if height % STRIDE_PX or width % STRIDE_PX:
            raise ConfigError(
                f"sample.width {width}, sample.height {height}: {self.architecture} takes images whose sides are "
                f"multiples of {STRIDE_PX}"
            )
        return image_batch(samples)

    def forward(self, batch: ImageBatch) -> Loss:
        """The loss of a batch, by the kind of its truth."""
        encoded = encode(self.network, batch, self._channels(torch.cat([batch.images0, batch.images1])))
        of_truth = label_parts if isinstance(batch.truth, LabelsBatch) else dense_parts
        return self._sum(of_truth(self.network, encoded, batch.truth, self.config))

    def published(self, state: StateDict) -> StateDict:
        """Weights under the names of the published file, without the prefix that some of them have."""
        own = self.network.state_dict()
        # An average has made floating point numbers of counters.
        return {name: state[f"network.{name}"].to(tensor.dtype) for name, tensor in own.items()}

    def load_published(self, state: StateDict, source: str) -> None:
        """Start from weights of that layout, with or without such a prefix.

        Raises:
            InvalidInput: they are of another architecture.
        """
        load_to_train(self.network, select(state, "matcher.", "model."), source)

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """Parameters of the image encoder ("encoder"), and all others ("main")."""
        encoder = [item for item in self._encoder().parameters() if item.requires_grad]
        known = {id(item) for item in encoder}
        main = [item for item in self.parameters() if item.requires_grad and id(item) not in known]
        return {"main": main, "encoder": encoder}

    def matcher_settings(self) -> Mapping[str, Any]:
        """How positions are encoded and similarities scaled, where it is not the matcher's default."""
        plain = LoftrLossConfig()
        names = [name for name in ("position_encoding", "temperature") if self._setting(name) != getattr(plain, name)]
        return {name: self._setting(name) for name in names}

    def _setting(self, name: str) -> Any:
        return getattr(self.config, name)

    def _encoder(self) -> torch.nn.Module:
        """The part that may have been trained before: its learning rate has a factor of its own."""
        return self.network.backbone

    def _channels(self, images: torch.Tensor) -> torch.Tensor:
        """RGB images [B, 3, H, W] as the network takes them."""
        return images

    def _sum(self, parts: Parts) -> Loss:
        weights = {
            "coarse": self.config.coarse_weight,
            "coarse_wrong": self.config.coarse_weight * self.config.wrong_weight,
            "fine": self.config.fine_weight,
        }
        total = sum((weights[name] * part for name, part in parts.losses.items()), self._nothing(parts))
        terms = {name: part.detach() for name, part in parts.losses.items()}
        return Loss(total, terms | parts.curves, parts.num_supervised)

    def _nothing(self, parts: Parts) -> torch.Tensor:
        """Zero; with a gradient to every weight where a part is missing, since DDP waits for all of them."""
        if {"coarse", "fine"} <= parts.losses.keys():
            return parts.losses["coarse"].new_zeros(())
        return 0.0 * torch.stack([item.sum() for item in self.parameters() if item.requires_grad]).sum()
