"""The manifest of a dataset: everything that training on it reads, fixed by hashes, and where it came from."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from gim import codecs, keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import Teacher
from gim.spelling import did_you_mean

Split = Literal["train", "held_out"]
PosedKind = Literal["megadepth", "scannet", "colmap", "posed"]  # a layout: see gim.training.data.posed


@dataclass(frozen=True, slots=True)
class DatasetShard:
    """One shard of training pairs, see docs/formats.md."""

    key: str
    sha256: str
    num_bytes: int
    num_pairs: int  # that belong to the dataset: those that `where` lets through
    num_stored: int  # in the shard


@dataclass(frozen=True, slots=True)
class DatasetVideo:
    """One video's part of a dataset."""

    video_id: str
    recipe_id: str
    split: Split
    sha256: str  # of the source file
    licence: str  # of the video, as its meta has it
    licence_from: str  # who says so
    uploader: str
    source: str  # the URL that answered; empty for a local file
    num_pairs: int
    shards: list[DatasetShard]


@dataclass(frozen=True, slots=True)
class ExcludedVideo:
    """A video with a result that the dataset does without."""

    video_id: str
    recipe_id: str  # empty: it has none of the recipes asked for
    reason: Literal["recipe", "no_pairs", "no_meta", "licence", "conditions", "damaged", "leak", "hours"]
    detail: str


@dataclass(frozen=True, slots=True)
class PosedSceneEntry:
    """One scene of a posed set."""

    name: str
    split: Split
    num_pairs: int
    index_sha256: str  # of the file, or of the names and hashes of the files, that say which pairs it has


@dataclass(frozen=True, slots=True)
class PosedSet:
    """A posed set: where it lies no manifest says, but the setting `dataset.posed_roots` of each machine."""

    name: str  # of the part in a mixture, and in `dataset.posed_roots`
    kind: PosedKind
    options: dict[str, Any]  # all that its kind knows: see gim.training.data.posed.options
    scenes: list[PosedSceneEntry]  # by name, each with a pair

    def num_pairs(self, split: Split) -> int:
        """Pairs of one part."""
        return sum(scene.num_pairs for scene in self.scenes if scene.split == split)


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """A fixed list of shards and posed scenes. Its id ends in the hash of all the rest."""

    dataset_id: str
    name: str
    where: tuple[str, ...]  # conditions on a pair's quality; a reader leaves out pairs that break one
    permissive_only: bool
    held_out_share: float
    held_out_seed: int
    num_pairs: int  # of videos, for training
    num_held_out_pairs: int
    recipe_ids: list[str]
    teachers: tuple[Teacher, ...]  # the matchers behind all labels: licences and weights
    videos: list[DatasetVideo]  # by id
    excluded: list[ExcludedVideo]  # by id
    posed: list[PosedSet] = field(default_factory=list)  # by name
    clear_of: tuple[str, ...] = ()  # ids of the benchmarks whose images no video of it shows

    def shards(self, split: Split) -> Iterator[DatasetShard]:
        """The shards of one part, in order."""
        for video in self.videos:
            if video.split == split:
                yield from video.shards

    def num_posed_pairs(self, split: Split) -> int:
        """Pairs of all posed sets in one part."""
        return sum(posed_set.num_pairs(split) for posed_set in self.posed)


def dataset_id_of(manifest: DatasetManifest) -> str:
    """The id that belongs to what a manifest lists."""
    listed = dataclasses.asdict(manifest)
    del listed["dataset_id"]
    for later in ("posed", "clear_of"):
        if not listed[later]:  # datasets were made before manifests had these, and keep their ids
            del listed[later]
    return keys.config_id(manifest.name, listed)


def read_dataset(store: Store, dataset_id: str) -> DatasetManifest:
    """The manifest of a dataset.

    Raises:
        InvalidInput: there is no such dataset; the message names the nearest ones.
        CorruptObject: it is damaged, or was changed: its id is not that of what it lists.
    """
    key = keys.dataset_manifest(dataset_id)
    try:
        manifest = codecs.from_json(DatasetManifest, store.get(key))
    except KeyMissing as error:
        hint = did_you_mean(dataset_id, dataset_ids(store))
        raise InvalidInput(f"no dataset {dataset_id!r}{hint}; see `gim dataset ls`") from error
    if manifest.dataset_id != dataset_id or dataset_id_of(manifest) != dataset_id:
        raise CorruptObject(f"{key} has changed: what it lists makes {dataset_id_of(manifest)}")
    return manifest


def dataset_ids(store: Store) -> list[str]:
    """Ids of all datasets of a store, ascending."""
    found = [key.split("/") for key in store.list(keys.datasets_prefix())]
    return [parts[1] for parts in found if len(parts) == 3 and parts[2] == "manifest.json"]


def datasets_with(store: Store, video_id: str) -> list[str]:
    """Ids of the datasets that a video is part of, ascending; one that excluded it does not count.

    A manifest that cannot be read as one counts when the id stands in it: better one too many than one too few.
    """
    found = []
    for dataset_id in dataset_ids(store):
        data = store.get(keys.dataset_manifest(dataset_id))
        try:
            manifest = codecs.from_json(DatasetManifest, data)
            is_part = any(video.video_id == video_id for video in manifest.videos)
        except CorruptObject:
            is_part = video_id.encode() in data
        if is_part:
            found.append(dataset_id)
    return found
