"""DKM as a Trainable: a warp found coarse to fine, and its certainty.

With posed images and homographies (DKM, CVPR 2023, Sec. 3; GIM's numbers, reference/gim.md 3c), added up over the
scales 32, 16, 8, 4, 2 and 1:

- the mean end-point distance of the flow, in units of half the image's sides, over the cells that are seen in the other
  image;
- 0.01 times the cross-entropy of the certainty with whether a cell is seen, over all cells but padding (which the
  authors count as not seen). A recipe names parts that do without, as GIM does for ScanNet, whose depth has holes.

From scale 8 down a cell takes part in both as a match only where the coarser scale's warp was nearer to the truth than
4 cells, were the image 512 pixels wide: fine scales are not to mend what coarse ones missed, but to find it uncertain.

With video labels (GIM, Sec. 3.2: "only calculate the loss on the pixels with correspondences"): the mean end-point
distance at the labels, added up over the same scales. The certainty's cross-entropy there is measured, not trained: at
labels it only ever has to be 1 (GIM's issue 37). GIM samples the flow with half a cell's shift between the two ends;
here both ends are exact.

GIM adds no other loss. Its authors and DKM's train the warp 0 -> 1 alone; see `WarpConfig.directions`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from gim.errors import ConfigError
from gim.matchers.nn.dkm import DkmSizes, DKMv3
from gim.matchers.nn.refiner import WarpEstimate
from gim.training.batches import ImageBatch, LabelsBatch
from gim.training.collate import image_batch
from gim.training.models import _warp_losses as losses
from gim.training.models._settings import model_settings
from gim.training.models._start import load_backbone, load_to_train
from gim.training.models._warp_config import WarpConfig
from gim.training.models._warp_pairs import BatchMaps, refined_alone
from gim.training.models._warp_targets import LabelTargets, cell_targets, label_targets
from gim.training.models.base import Loss, Trainable
from gim.training.samples import Sample
from gim.weights.checkpoint import StateDict, select
from gim.weights.config import WeightsConfig

_FINE_SCALES = (8, 4, 2, 1)
_PREFIX = "network."


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmConfig(WarpConfig):
    """How DKM is trained, and how large it is."""

    certainty_off: tuple[str, ...] = ("scannet",)  # as GIM; for its RoMa it does not
    local_dist: float = 4.0  # see above
    local_from: int = 8  # the coarsest scale it holds for
    sizes: DkmSizes = field(default_factory=DkmSizes)


class Dkm(Trainable):
    """DKM, version 3, with its losses."""

    architecture: ClassVar[str] = "dkm"
    matcher: ClassVar[str] = "dkm"
    sees: ClassVar[Literal["images", "features"]] = "images"

    def __init__(self, config: DkmConfig) -> None:
        super().__init__()
        self.config = config
        self.network = DKMv3(config.sizes)
        if config.backbone_weights:
            load_backbone(self.network.encoder.net, config.backbone_weights)

    def collate(self, samples: Sequence[Sample]) -> ImageBatch:
        """Samples of one part, whose images all have one size."""
        return image_batch(samples)

    def forward(self, batch: ImageBatch) -> Loss:
        """The loss of a batch, by the kind of its truth."""
        estimates = list(self.estimates(batch))
        with torch.autocast(batch.images0.device.type, enabled=False):
            if isinstance(batch.truth, LabelsBatch):
                return label_loss(estimates, label_targets(batch, self.config.directions), batch.images0.shape[-2:])
            return dense_loss(estimates, batch, self.config)

    def estimates(self, batch: ImageBatch) -> Iterator[WarpEstimate]:
        """Flow and certainty at strides 32, 16, 8, 4, 2 and 1; with both directions first all 0 -> 1, then 1 -> 0."""
        images = torch.cat([batch.images0, batch.images1])
        pairs = BatchMaps(self.network.coarse_pyramid(images), self.config.directions)
        for estimate in self.network.decoder.global_matches(pairs):
            yield estimate
        yield from refined_alone(self.network.decoder.conv_refiner, pairs, estimate, _FINE_SCALES)

    def published(self, state: StateDict) -> StateDict:
        """The 811 names of gim_dkm_100h.ckpt, less the prefix of its wrapper, which loaders do without."""
        return select(state, _PREFIX)

    def load_published(self, state: StateDict, source: str) -> None:
        """Start from GIM's DKM or DKM's own."""
        load_to_train(self.network, select(state, "model.", drop=["encoder.net.fc."]), source)

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """The ResNet apart, which GIM trains with a twentieth of the learning rate."""
        return {
            "main": list(self.network.decoder.parameters()),
            "encoder": list(self.network.encoder.parameters()),
        }


def build(settings: Mapping[str, Any], _weights: WeightsConfig | None = None) -> Dkm:
    """DKM by the settings `model.*` of a recipe.

    Raises:
        ConfigError: a setting is not known, or cannot be.
    """
    config = model_settings(DkmConfig, settings, Dkm.architecture)
    if config.local_dist <= 0:
        raise ConfigError(f"dkm, model.local_dist must be over 0, got {config.local_dist}")
    return Dkm(config)


def dense_loss(estimates: Sequence[WarpEstimate], batch: ImageBatch, config: DkmConfig) -> Loss:
    """The loss where the truth says of every pixel where it goes."""
    terms: dict[str, torch.Tensor] = {}
    total = estimates[0].flow.new_zeros(())
    weight = 0.0 if batch.part in config.certainty_off else config.certainty_weight
    coarser: tuple[torch.Tensor, torch.Tensor] | None = None
    for estimate in estimates:
        scale, size = estimate.scale, estimate.flow.shape[-2:]
        targets = cell_targets(batch, size, config.directions)
        distances = losses.cell_distances(estimate.flow, targets)
        is_matched = targets.is_matched
        if coarser and scale <= config.local_from:
            is_matched = is_matched & losses.was_near(*coarser, size, local_dist=config.local_dist, scale=scale)
        flow = losses.masked_mean(distances, is_matched)
        certainty = losses.certainty_loss(estimate.certainty, is_matched, targets.is_valid)
        total = total + flow + weight * certainty
        terms |= {f"flow_{scale}": flow.detach(), f"certainty_{scale}": certainty.detach()}
        coarser = distances, targets.is_known
    terms["error_px"] = losses.mean_error_px(estimate.flow, targets, batch.images0.shape[-2:])
    return Loss(total, terms, int(targets.is_matched.sum()))


def label_loss(estimates: Sequence[WarpEstimate], targets: LabelTargets, image: torch.Size) -> Loss:
    """The loss where nothing but labels is known, of images of (height, width)."""
    terms: dict[str, torch.Tensor] = {}
    total = estimates[0].flow.new_zeros(())
    for estimate in estimates:
        flow = losses.masked_mean(losses.label_distances(estimate.flow, targets), targets.is_label)
        total = total + flow
        certainty = losses.label_certainty(estimate.certainty, targets)
        terms |= {f"flow_{estimate.scale}": flow.detach(), f"certainty_{estimate.scale}": certainty}
    terms["error_px"] = losses.mean_label_error_px(estimate.flow, targets, image)
    return Loss(total, terms, int(targets.is_label.sum()))
