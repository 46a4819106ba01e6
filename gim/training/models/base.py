"""What can be trained: a network, its losses on each kind of truth, and how its weights are published.

One file per architecture; its docstring states the losses with their sources. The loop (`gim.training.loop`) knows
nothing of networks, and a file here nothing of optimisers, devices or files.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from gim.weights.checkpoint import StateDict


@dataclass(frozen=True, slots=True)
class Loss:
    """What one micro-batch costs."""

    total: torch.Tensor  # scalar with a gradient; 0 * something where a batch supervises nothing
    terms: Mapping[str, torch.Tensor]  # scalars without one, for curves: "coarse", "fine", ...
    num_supervised: int  # pixels or keypoints whose truth took part


class Trainable(ABC, torch.nn.Module):
    """A network with its losses."""

    architecture: ClassVar[str]  # as recipes name it; the file's name
    matcher: ClassVar[str]  # of `gim/matchers` whose weights a run makes
    sees: ClassVar[Literal["images", "features"]]
    weights_setting: ClassVar[str] = "weights"  # of the matcher, that names the weights which a run makes

    @abstractmethod
    def collate(self, samples: Sequence[Any]) -> Any:
        """An `ImageBatch` or `FeatureBatch` of samples of one part, on the CPU. Called from the reader's threads."""

    @abstractmethod
    def forward(self, batch: Any) -> Loss:
        """The loss of a batch, by the kind of its truth."""

    @abstractmethod
    def published(self, state: StateDict) -> StateDict:
        """Weights in the key layout of the public GIM file (or of the matcher's own), which `gim.matchers` loads.

        Args:
            state: `state_dict()` of this module, or an average of several.
        """

    @abstractmethod
    def load_published(self, state: StateDict, source: str) -> None:
        """Start from weights of that layout.

        Raises:
            InvalidInput: they are of another architecture; the message names `source` and what differs.
        """

    def frozen_extractor(self) -> tuple[str, str]:
        """Name and weights of the extractor that makes the features it sees, see `features.loading`."""
        raise NotImplementedError(f"{self.architecture} sees images")

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """Parameters by the name of their group; a recipe gives each group a factor of the learning rate.

        "main" holds what belongs to no other, as "encoder" of a pretrained backbone.
        """
        return {"main": [item for item in self.parameters() if item.requires_grad]}

    def matcher_settings(self) -> Mapping[str, Any]:
        """Settings of the matcher that the weights go with, those that differ from its defaults."""
        return {}
