"""RoMa as a Trainable: a probability over places of the other image, refined to a warp and its certainty.

With posed images and homographies (RoMa, CVPR 2024, Sec. 3.4; GIM's numbers, reference/gim.md 3c):

- at scale 16 the cross-entropy of the coarse probability with the nearest of 64 x 64 anchors, over the cells that are
  seen in the other image, and 0.01 times that of the coarse certainty with whether a cell is seen;
- at scales 16, 8, 4, 2 and 1 the mean of a robust function of the flow's end-point distance x, in units of half the
  image's sides, over the cells seen: the generalised Charbonnier loss with alpha 0.5 and c 1e-4 times the scale;
- at the same scales 0.01 times the cross-entropy of the certainty, over all cells but padding (which the authors count
  as not seen). A recipe names parts that do without.

From scale 8 down a cell takes part as a match only where the coarser scale's warp was nearer to the truth than so many
cells, were the image 512 pixels wide: 8, 8, 4 and 4 at scales 8, 4, 2 and 1.

With video labels (GIM, Sec. 3.2): the same regression and the anchors' cross-entropy at the labels, flow and logits
between cells taken bilinearly. The certainty is measured, not trained.

DINOv2 is frozen, and no part of the state: its weights come in a file of their own. Refinement starts from the coarse
stage's place with a gradient; all other scales learn alone. Its authors and GIM train the warp 0 -> 1 alone; see
`WarpConfig.directions`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch.nn import functional

from gim.errors import ConfigError
from gim.matchers.nn.pyramid import Pyramid
from gim.matchers.nn.refiner import WarpEstimate, refined
from gim.matchers.nn.roma import (
    COARSE_SCALE,
    DISPLACEMENT_GAIN,
    FINE_SCALES,
    PATCH_PX,
    RoMa,
    RomaMatcher,
    RomaSizes,
    dinov2_vitl14,
    position_of_class,
)
from gim.training.batches import ImageBatch, LabelsBatch
from gim.training.collate import image_batch
from gim.training.models import _warp_losses as losses
from gim.training.models._settings import model_settings
from gim.training.models._start import load_backbone, load_to_train
from gim.training.models._warp_config import WarpConfig
from gim.training.models._warp_pairs import BatchMaps, refined_alone
from gim.training.models._warp_targets import CellTargets, LabelTargets, cell_targets, label_targets
from gim.training.models.base import Loss, Trainable
from gim.training.samples import Sample
from gim.weights.checkpoint import StateDict, load_into, read_checkpoint, select
from gim.weights.config import WeightsConfig
from gim.weights.files import find_weights

_PREFIX = "network."


@dataclass(frozen=True, slots=True, kw_only=True)
class RomaConfig(WarpConfig):
    """How RoMa is trained, and how large it is."""

    dinov2_weights: str = "dinov2_vitl14"  # of the catalogue, or a file
    alpha: float = 0.5  # of the robust loss
    c: float = 1e-4  # of the robust loss, times the scale
    local_dist: dict[int, float] = field(default_factory=lambda: {8: 8.0, 4: 8.0, 2: 4.0, 1: 4.0})
    sizes: RomaSizes = field(default_factory=RomaSizes)


@dataclass(frozen=True, slots=True)
class RomaEstimates:
    """What RoMa finds of a batch."""

    logits: torch.Tensor  # float32 [B, A^2, h, w] of the anchors, at scale 16
    certainty: torch.Tensor  # float32 [B, 1, h, w] of the coarse stage, logits
    warps: Sequence[WarpEstimate]  # at scales 16, 8, 4, 2 and 1


class Roma(Trainable):
    """RoMa with its losses."""

    architecture: ClassVar[str] = "roma"
    matcher: ClassVar[str] = "roma"
    sees: ClassVar[Literal["images", "features"]] = "images"

    def __init__(self, config: RomaConfig, dinov2: Any) -> None:
        """With DINOv2, or what stands in for it in tests: `forward_features`, as kornia's class has it."""
        super().__init__()
        self.config = config
        self.network = RomaMatcher(config.sizes)
        if config.backbone_weights:
            load_backbone(self.network.encoder.cnn.layers, config.backbone_weights, "features.")
        # In a tuple DINOv2 is no submodule: neither the state nor the parameters hold it.
        self._whole = (RoMa(self.network, dinov2.eval().requires_grad_(requires_grad=False)),)

    def collate(self, samples: Sequence[Sample]) -> ImageBatch:
        """Samples of one part, whose images all have one size.

        Raises:
            ConfigError: DINOv2 cannot cut such images into patches.
        """
        height, width = samples[0].image0.shape[:2]
        if width % PATCH_PX or height % PATCH_PX:
            raise ConfigError(
                f"roma needs sample.width and sample.height divisible by {PATCH_PX}, the side of DINOv2's patches; got "
                f"{width} and {height}"
            )
        return image_batch(samples)

    def forward(self, batch: ImageBatch) -> Loss:
        """The loss of a batch, by the kind of its truth."""
        found = self.estimates(batch)
        with torch.autocast(batch.images0.device.type, enabled=False):
            if isinstance(batch.truth, LabelsBatch):
                targets = label_targets(batch, self.config.directions)
                return label_loss(found, targets, batch.images0.shape[-2:], self.config)
            return dense_loss(found, batch, self.config)

    def estimates(self, batch: ImageBatch) -> RomaEstimates:
        """Of a batch; with both directions first all 0 -> 1, then 1 -> 0."""
        pyramid: Pyramid = self._whole[0].coarse_pyramid(torch.cat([batch.images0, batch.images1]))
        pairs = BatchMaps(pyramid, self.config.directions)
        decoder = self.network.decoder
        logits, certainty = decoder.classify(pairs)
        start = WarpEstimate(COARSE_SCALE, position_of_class(logits), certainty)
        (coarse,) = refined(decoder.conv_refiner, pairs, start, [COARSE_SCALE], DISPLACEMENT_GAIN)
        finer = refined_alone(decoder.conv_refiner, pairs, coarse, FINE_SCALES, DISPLACEMENT_GAIN)
        return RomaEstimates(logits, certainty, [coarse, *finer])

    def published(self, state: StateDict) -> StateDict:
        """The 603 names of gim_roma_100h.ckpt, less the prefix of its wrapper, which loaders do without."""
        return select(state, _PREFIX)

    def load_published(self, state: StateDict, source: str) -> None:
        """Start from GIM's RoMa or RoMa's own."""
        load_to_train(self.network, select(state, "model."), source)

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """The VGG apart, which GIM trains with a twentieth of the learning rate."""
        return {
            "main": list(self.network.decoder.parameters()),
            "encoder": list(self.network.encoder.parameters()),
        }

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Move DINOv2 along to a device."""
        self._whole[0].dinov2._apply(fn)  # noqa: SLF001 - torch has no other name for it
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def build(settings: Mapping[str, Any], weights: WeightsConfig | None = None) -> Roma:
    """RoMa by the settings `model.*` of a recipe, and where to look for DINOv2's weights.

    Raises:
        ConfigError: a setting is not known, or cannot be.
        InvalidInput, Unavailable, LicenceRefused: DINOv2's weights; see `gim.weights.files.find_weights`.
    """
    config = model_settings(RomaConfig, settings, Roma.architecture)
    if min(config.c, config.alpha, *config.local_dist.values()) <= 0:
        raise ConfigError("roma needs model.c, model.alpha and model.local_dist over 0")
    file = find_weights(config.dinov2_weights, weights or WeightsConfig())
    dinov2 = dinov2_vitl14()
    load_into(dinov2, select(read_checkpoint(file.path), "model."), source=file.name)
    return Roma(config, dinov2)


def dense_loss(found: RomaEstimates, batch: ImageBatch, config: RomaConfig) -> Loss:
    """The loss where the truth says of every pixel where it goes."""
    weight = 0.0 if batch.part in config.certainty_off else config.certainty_weight
    targets = cell_targets(batch, found.logits.shape[-2:], config.directions)
    anchors = anchor_loss(found.logits, targets)
    certainty = losses.certainty_loss(found.certainty, targets.is_matched, targets.is_valid)
    total = anchors + weight * certainty
    terms = {"anchors": anchors.detach(), "certainty": certainty.detach()}
    coarser: tuple[torch.Tensor, torch.Tensor] | None = None
    for estimate in found.warps:
        scale, size = estimate.scale, estimate.flow.shape[-2:]
        targets = cell_targets(batch, size, config.directions)
        distances = losses.cell_distances(estimate.flow, targets)
        is_matched = targets.is_matched
        if coarser and scale in config.local_dist:
            near = losses.was_near(*coarser, size, local_dist=config.local_dist[scale], scale=scale)
            is_matched = is_matched & near
        flow = losses.masked_mean(losses.robust(distances, c=config.c * scale, alpha=config.alpha), is_matched)
        certainty = losses.certainty_loss(estimate.certainty, is_matched, targets.is_valid)
        total = total + flow + weight * certainty
        terms |= {f"flow_{scale}": flow.detach(), f"certainty_{scale}": certainty.detach()}
        coarser = distances, targets.is_known
    terms["error_px"] = losses.mean_error_px(estimate.flow, targets, batch.images0.shape[-2:])
    return Loss(total, terms, int(targets.is_matched.sum()))


def label_loss(found: RomaEstimates, targets: LabelTargets, image: torch.Size, config: RomaConfig) -> Loss:
    """The loss where nothing but labels is known, of images of (height, width)."""
    total = anchors = label_anchor_loss(found.logits, targets)
    terms = {"anchors": anchors.detach(), "certainty": losses.label_certainty(found.certainty, targets)}
    for estimate in found.warps:
        distances = losses.label_distances(estimate.flow, targets)
        robust = losses.robust(distances, c=config.c * estimate.scale, alpha=config.alpha)
        flow = losses.masked_mean(robust, targets.is_label)
        total = total + flow
        certainty = losses.label_certainty(estimate.certainty, targets)
        terms |= {f"flow_{estimate.scale}": flow.detach(), f"certainty_{estimate.scale}": certainty}
    terms["error_px"] = losses.mean_label_error_px(estimate.flow, targets, image)
    return Loss(total, terms, int(targets.is_label.sum()))


def anchor_loss(logits: torch.Tensor, targets: CellTargets) -> torch.Tensor:
    """Cross-entropy of anchors' logits [B, A^2, h, w] with the anchors nearest to where cells go (RoMa, Sec. 3.4)."""
    wanted = torch.where(targets.is_matched[:, None], targets.flow, 0.0)
    nearest = nearest_anchors(wanted.movedim(1, 3), logits.shape[1])
    return losses.masked_mean(functional.cross_entropy(logits, nearest, reduction="none"), targets.is_matched)


def label_anchor_loss(logits: torch.Tensor, targets: LabelTargets) -> torch.Tensor:
    """The same at labels, with logits between cells taken bilinearly."""
    nearest = nearest_anchors(torch.where(targets.is_label[..., None], targets.ends, 0.0), logits.shape[1])
    found = losses.maps_at(logits, targets.starts)
    return losses.masked_mean(functional.cross_entropy(found.mT, nearest, reduction="none"), targets.is_label)


def nearest_anchors(positions: torch.Tensor, count: int) -> torch.Tensor:
    """Which of a square of anchors is nearest to positions [..., 2] in [-1, 1], row by row: int64 [...]."""
    side = math.isqrt(count)
    x, y = ((positions + 1) / 2 * side).floor().long().clamp(0, side - 1).unbind(-1)
    return y * side + x
