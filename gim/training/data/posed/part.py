"""A posed set as one part of the mixture: its scenes are groups, checked against the dataset's manifest when opened."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gim.datasets.manifest import DatasetManifest, PosedSceneEntry, PosedSet, Split
from gim.datasets.posed import posed_root
from gim.errors import CorruptObject
from gim.keys import config_id
from gim.training.augment.apply import augment_pair
from gim.training.augment.config import AugmentConfig
from gim.training.config import SampleConfig
from gim.training.data.hashing import generator_of
from gim.training.data.parts import Draw
from gim.training.data.posed.layouts import list_scenes, read_scene
from gim.training.data.posed.options import options_of
from gim.training.data.posed.scene import PosedScene, SceneFiles, index_sha256
from gim.training.samples import Labels, Sample


class PosedPart:
    """The scenes of one split of a posed set."""

    def __init__(
        self,
        posed_set: PosedSet,
        root: Path,
        config: SampleConfig,
        augment: AugmentConfig,
        *,
        split: Split = "train",
        verify: bool = True,
    ) -> None:
        """Read nothing yet.

        Args:
            posed_set: as the dataset's manifest has it.
            root: folder of the set on this machine.
            config: what a sample is.
            augment: how its images are changed.
            split: whose scenes.
            verify: hold every scene's index to its hash when it is first opened.
        """
        self.name = posed_set.name
        self._entries = [scene for scene in posed_set.scenes if scene.split == split]
        self.group_sizes: Sequence[int] = [entry.num_pairs for entry in self._entries]
        self._set, self._root, self._verify = posed_set, root, verify
        self._config, self._augment = config, augment
        self._options = options_of(posed_set.kind, posed_set.options)
        self._verified: set[str] = set()  # scenes; a second opening costs no second look at large files

    def identity(self, group: int) -> str:
        """What a scene's pairs are made of: its list of pairs and the options; images have no hash."""
        entry = self._entries[group]
        return config_id(f"{self._set.kind}-{entry.index_sha256}", entry.name, self._set.options)

    @contextmanager
    def open(self, group: int) -> Iterator["PosedGroup"]:
        """A scene with its index read.

        Raises:
            CorruptObject: it is absent, or its index is not the one in the manifest.
        """
        entry = self._entries[group]
        yield PosedGroup(self, self._read(entry), entry.name)

    def make(self, recorded: Sample, scene: str, draw: Draw) -> Sample:
        """A sample of a pair as it was recorded.

        Raises:
            SampleSkipped: `too_few_labels` of points of COLMAP.
        """
        config, name = self._config, f"{scene}/{recorded.name}"
        rng = generator_of(self.name, name, draw.seed, draw.epoch)
        sample = augment_pair(
            dataclasses.replace(recorded, name=name, part=self.name),
            self._augment,
            (config.width, config.height),
            rng,
            min_labels=config.min_labels,
            max_tries=config.max_tries,
        )
        if not isinstance(sample.truth, Labels):
            return sample
        return dataclasses.replace(sample, truth=sample.truth.limited(config.max_labels, rng))

    @cached_property
    def _files(self) -> dict[str, SceneFiles]:
        return {files.name: files for files in list_scenes(self._set.kind, self._root, self._options)}

    def _read(self, entry: PosedSceneEntry) -> PosedScene:
        files = self._files.get(entry.name)
        if files is None:
            raise CorruptObject(f"posed set {self.name}: scene {entry.name} is not in {self._root}")
        if self._verify and entry.name not in self._verified:
            if index_sha256(files.index) != entry.index_sha256:
                raise CorruptObject(f"{files.index[0]} has changed: its SHA-256 is not that of the dataset's manifest")
            self._verified.add(entry.name)
        scene = read_scene(self._set.kind, files, self._options)
        if len(scene) != entry.num_pairs:
            raise CorruptObject(f"{files.index[0]}: {len(scene)} pairs, the dataset's manifest has {entry.num_pairs}")
        return scene


@dataclass(frozen=True, slots=True)
class PosedGroup:
    """A scene whose pairs are made into samples."""

    part: PosedPart
    scene: PosedScene
    name: str

    def sample(self, index: int, draw: Draw) -> Sample:
        """One pair; raises as `PosedPart.make` and `PosedScene.read`."""
        return self.part.make(self.scene.read(index), self.name, draw)


def posed_parts(
    manifest: DatasetManifest,
    roots: Mapping[str, str],
    config: SampleConfig,
    augment: AugmentConfig,
    *,
    split: Split = "train",
    verify: bool = True,
) -> list[PosedPart]:
    """The posed sets of a dataset that have a pair in a split, by name.

    Args:
        manifest: of the dataset.
        roots: folders of the sets by name: the setting `dataset.posed_roots`.
        config: what a sample is.
        augment: how its images are changed.
        split: whose scenes.
        verify: see `PosedPart`.

    Raises:
        ConfigError: nobody says where a set lies.
    """
    return [
        PosedPart(item, posed_root(item.name, roots), config, augment, split=split, verify=verify)
        for item in manifest.posed
        if item.num_pairs(split)
    ]
