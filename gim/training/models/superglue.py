"""SuperGlue on frozen SuperPoint features.

Posed data and homographies: minus the log of the optimal partial assignment at matches, and at the dustbins of
keypoints without one (Sarlin et al., CVPR 2020, Eq. 10), divided by how many they are. Video labels: minus the mean log
assignment at the labels, as GIM has it for LightGlue (Shen et al., ICLR 2024, Sec. 4: loss where there are labels).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from gim.errors import ConfigError
from gim.matchers.nn.superglue import SuperGlue
from gim.training.batches import FeatureBatch, LabelsBatch
from gim.training.models._assignment_batch import feature_batch
from gim.training.models._assignment_config import SuperGlueConfig, matcher_settings
from gim.training.models._assignment_extractor import PREFIX, check_extractor, superpoint_state
from gim.training.models._assignment_loss import transport_likelihood
from gim.training.models._assignment_superglue import log_assignment
from gim.training.models._settings import model_settings
from gim.training.models.base import Loss, Trainable
from gim.training.samples import FeatureSample
from gim.training.supervision.keypoints import keypoint_truth
from gim.weights.checkpoint import StateDict, load_into, select
from gim.weights.config import WeightsConfig

_NAMES = "superglue."  # GIM published no SuperGlue: what our matcher calls it in a file of both networks


class SuperGlueTrainable(Trainable):
    """SuperGlue with its losses."""

    architecture: ClassVar[str] = "superglue"
    matcher: ClassVar[str] = "superpoint_superglue"
    sees: ClassVar[Literal["images", "features"]] = "features"

    def __init__(self, config: SuperGlueConfig, weights: WeightsConfig | None = None) -> None:
        """`weights`: where SuperPoint's are looked for, which are published along."""
        super().__init__()
        self.config = config
        self.network = SuperGlue(config.sinkhorn_iterations)
        self._weights = weights or WeightsConfig()

    def collate(self, samples: Sequence[FeatureSample]) -> FeatureBatch:
        return feature_batch(samples)

    def forward(self, batch: FeatureBatch) -> Loss:
        truth = keypoint_truth(batch, self.config.thresholds)
        assignment = log_assignment(self.network, batch)
        positive, negative = transport_likelihood(assignment, truth)
        is_video = isinstance(batch.truth, LabelsBatch)
        total = self.config.label_weight * positive if is_video else positive + negative
        supervised = truth.is_matched0.sum() + truth.is_unmatched0.sum() + truth.is_unmatched1.sum()
        terms = {"positive": positive.detach(), "negative": negative.detach()}
        return Loss(total, terms, int(supervised))

    def published(self, state: StateDict) -> StateDict:
        own = {f"{_NAMES}{key}": tensor for key, tensor in select(state, "network.").items()}
        return superpoint_state(self.config.extractor_weights, self._weights) | own

    def load_published(self, state: StateDict, source: str) -> None:
        check_extractor(state, source, self.config.extractor_weights, self._weights)
        load_into(self.network, select(state, _NAMES, "model.", drop=(PREFIX,)), source=source)
        self.network.train().requires_grad_(requires_grad=True)

    def frozen_extractor(self) -> tuple[str, str]:
        return self.config.extractor, self.config.extractor_weights

    def matcher_settings(self) -> Mapping[str, Any]:
        found = matcher_settings(self.config, "superpoint_weights")
        iterations = self.config.sinkhorn_iterations
        return found if iterations == 100 else found | {"sinkhorn_iterations": iterations}  # the matcher's default


def build(settings: Mapping[str, Any], weights: WeightsConfig | None = None) -> SuperGlueTrainable:
    """SuperGlue of a recipe's `model.*`, untrained.

    Raises:
        ConfigError: a setting is not known, or makes no sense.
    """
    config = model_settings(SuperGlueConfig, settings, "superglue")
    if config.extractor != "superpoint":
        raise ConfigError(f"superglue: model.extractor {config.extractor!r} is not superpoint")
    return SuperGlueTrainable(config, weights)
