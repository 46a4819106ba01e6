"""The parts of a mixture from a dataset and a recipe: which there are, and how often each is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from gim.datasets.manifest import DatasetManifest, Split
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.training.augment.config import SYNTHETIC, augment_recipe
from gim.training.config import TrainingConfig
from gim.training.data.frames import FrameCache
from gim.training.data.homography import HomographyPart
from gim.training.data.parts import Part
from gim.training.data.posed.part import posed_parts
from gim.training.data.shards import VideoShards
from gim.training.data.video import VideoPart
from gim.training.samples import Sample

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class OpenedPart(Generic[Item]):
    """One part, and its share of the micro-batches relative to the others'."""

    part: Part[Item]
    share: float


def open_parts(
    store: Store,
    dataset: DatasetManifest,
    config: TrainingConfig,
    split: Split,
    *,
    posed_roots: Mapping[str, str] | None = None,
) -> list[OpenedPart[Sample]]:
    """The parts that a recipe draws from; nothing is read yet.

    Args:
        store: holds the shards.
        dataset: which of them.
        config: of the run.
        split: for training, or held out.
        posed_roots: where each posed set of the dataset lies on this machine, by its name.

    Raises:
        InvalidInput: the recipe asks for what the dataset does not have, or for nothing that it has.
    """
    mix, sample, augment = config.mix, config.sample, augment_recipe(config.sample.augment)
    found: list[OpenedPart[Sample]] = []
    if mix.video or mix.homography:
        shards, frames = VideoShards(store, dataset, split, verify=config.reader.verify), FrameCache()
        if mix.video and shards.sizes:
            found.append(OpenedPart(VideoPart(shards, sample, augment, frames=frames), mix.video))
        if mix.homography and shards.sizes:
            found.append(OpenedPart(HomographyPart(shards, sample, SYNTHETIC, frames=frames), mix.homography))
    if mix.posed:
        posed = posed_parts(dataset, posed_roots or {}, sample, augment, split=split, verify=config.reader.verify)
        found += [OpenedPart(part, mix.posed) for part in posed]
    if not found and split == "train":
        raise InvalidInput(
            f"dataset {dataset.dataset_id} has no pairs for training that recipe {config.recipe} draws from: "
            "see `gim dataset show`, and the settings train.mix"
        )
    return found
