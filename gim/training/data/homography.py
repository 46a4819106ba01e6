"""The part of a mixture whose truth is exact: single frames of a dataset's videos, seen twice through homographies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gim.errors import CorruptObject
from gim.training.augment.apply import synthetic_pair
from gim.training.augment.config import SyntheticConfig
from gim.training.config import SampleConfig
from gim.training.data.frames import FrameCache
from gim.training.data.hashing import generator_of
from gim.training.data.parts import Draw
from gim.training.data.shards import OpenShard, RawPair, VideoShards
from gim.training.samples import Sample, SampleSkipped

_ZOOM = 1.5  # a view shows some two thirds of its frame; frames are decoded so large that it is not enlarged


class HomographyPart:
    """Synthetic pairs of the frames of video pairs: of every pair one of its frames, drawn anew in each epoch."""

    name = "homography"

    def __init__(
        self, shards: VideoShards, config: SampleConfig, synthetic: SyntheticConfig, *, frames: FrameCache | None = None
    ) -> None:
        """Read nothing yet.

        Args:
            shards: of the dataset.
            config: the size of a sample.
            synthetic: how far the two views differ.
            frames: keeps decoded ones; parts may share one. None: its own.
        """
        self.group_sizes: Sequence[int] = shards.sizes
        self._shards, self._synthetic, self._frames = shards, synthetic, frames or FrameCache()
        self._size = config.width, config.height

    def identity(self, group: int) -> str:
        """The content of a shard, and which of its pairs are taken."""
        return self._shards.identity(group)

    @contextmanager
    def open(self, group: int) -> Iterator["HomographyGroup"]:
        """Fetch a shard; raises as `VideoShards.open`."""
        with self._shards.open(group) as shard:
            yield HomographyGroup(self, shard)

    def make(self, raw: RawPair, draw: Draw) -> Sample:
        """A synthetic pair of one of the two frames.

        Raises:
            SampleSkipped: `damaged`, or `too_little_overlap`.
        """
        rng = generator_of(self.name, raw.name, draw.seed, draw.epoch)
        name, jpeg = (raw.frame0, raw.jpeg0) if rng.random() < 0.5 else (raw.frame1, raw.jpeg1)
        try:
            frame = self._frames.frame(name, jpeg, (int(_ZOOM * self._size[0]), int(_ZOOM * self._size[1])))
        except CorruptObject as error:
            raise SampleSkipped("damaged", f"{raw.name}: {error}") from error
        return synthetic_pair(frame.image, raw.name, self._synthetic, self._size, rng, part=self.name)


@dataclass(frozen=True, slots=True)
class HomographyGroup:
    """A shard whose frames are made into samples."""

    part: HomographyPart
    shard: OpenShard

    def sample(self, index: int, draw: Draw) -> Sample:
        """One pair; raises as `HomographyPart.make`, and CorruptObject where the shard was cut off since."""
        return self.part.make(self.shard.pair(index), draw)
