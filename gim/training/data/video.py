"""The part of a mixture whose truth is video labels: pairs of a dataset's shards, augmented."""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from gim.errors import CorruptObject
from gim.records import Float32Array
from gim.training.augment.apply import augment_pair
from gim.training.augment.config import AugmentConfig
from gim.training.config import SampleConfig
from gim.training.data.frames import Frame, FrameCache
from gim.training.data.hashing import generator_of
from gim.training.data.parts import Draw
from gim.training.data.shards import OpenShard, RawPair, VideoShards
from gim.training.samples import Labels, Sample, SampleSkipped


class VideoPart:
    """Pairs with propagated labels; a group is a shard."""

    name = "video"

    def __init__(
        self, shards: VideoShards, config: SampleConfig, augment: AugmentConfig, *, frames: FrameCache | None = None
    ) -> None:
        """Read nothing yet.

        Args:
            shards: of the dataset.
            config: what a sample is: its size, and how many labels it has.
            augment: how its images are changed.
            frames: keeps decoded ones, since most stand in several pairs; parts may share one. None: its own.
        """
        self.group_sizes: Sequence[int] = shards.sizes
        self.labels_outside = 0  # that lay outside their frames and were left out, of all pairs made so far
        self._guard = threading.Lock()
        self._shards, self._config, self._augment = shards, config, augment
        self._frames = frames or FrameCache()

    def identity(self, group: int) -> str:
        """The content of a shard, and which of its pairs are taken."""
        return self._shards.identity(group)

    @contextmanager
    def open(self, group: int) -> Iterator["VideoGroup"]:
        """Fetch a shard; raises as `VideoShards.open`."""
        with self._shards.open(group) as shard:
            yield VideoGroup(self, shard)

    def make(self, raw: RawPair, draw: Draw) -> Sample:
        """A sample of what is stored.

        Raises:
            SampleSkipped: `damaged`, or `too_few_labels` before or after the augmentation.
        """
        config = self._config
        size = config.width, config.height
        rng = generator_of(self.name, raw.name, draw.seed, draw.epoch)
        try:
            points = raw.correspondences()
            frame0 = self._frames.frame(raw.frame0, raw.jpeg0, size)
            frame1 = self._frames.frame(raw.frame1, raw.jpeg1, size)
        except (CorruptObject, ValueError) as error:
            raise SampleSkipped("damaged", f"{raw.name}: {error}") from error
        sample = Sample(
            name=raw.name,
            part=self.name,
            image0=frame0.image,
            image1=frame1.image,
            valid0=np.ones(frame0.image.shape[:2], np.bool_),
            valid1=np.ones(frame1.image.shape[:2], np.bool_),
            truth=Labels(self._labels_on(points, frame0, frame1)),
        )
        sample = augment_pair(
            sample, self._augment, size, rng, min_labels=config.min_labels, max_tries=config.max_tries
        )
        assert isinstance(sample.truth, Labels)
        return dataclasses.replace(sample, truth=sample.truth.limited(config.max_labels, rng))

    def _labels_on(self, points: Float32Array, frame0: Frame, frame1: Frame) -> Float32Array:
        """Labels of stored frames as positions of decoded ones, without those that lie on no pixel."""
        moved = np.hstack([frame0.from_stored.apply(points[:, :2]), frame1.from_stored.apply(points[:, 2:])])
        is_on = frame0.has(moved[:, :2]) & frame1.has(moved[:, 2:])
        if not is_on.all():
            with self._guard:
                self.labels_outside += int(np.count_nonzero(~is_on))
        return moved[is_on]


@dataclass(frozen=True, slots=True)
class VideoGroup:
    """A shard whose pairs are made into samples."""

    part: VideoPart
    shard: OpenShard

    def sample(self, index: int, draw: Draw) -> Sample:
        """One pair; raises as `VideoPart.make`, and CorruptObject where the shard was cut off since it was opened."""
        return self.part.make(self.shard.pair(index), draw)
