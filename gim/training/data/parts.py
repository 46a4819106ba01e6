"""What the stream of samples is made of: a part of the mixture is groups of pairs that are read together.

A group is a shard of a tar, a scene, a file: fetched once, then its samples are made by many threads.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item_co = TypeVar("Item_co", covariant=True)  # Sample or FeatureSample


@dataclass(frozen=True, slots=True)
class Draw:
    """Everything random about one sample: the same draw of the same pair is the same sample, on any machine."""

    seed: int  # of the augmentation
    epoch: int  # how often the pair was given before


class Group(Protocol[Item_co]):
    """Pairs that were fetched together; its methods are called from many threads."""

    def sample(self, index: int, draw: Draw) -> Item_co:
        """One pair, decoded and augmented.

        Raises:
            SampleSkipped: it gives no sample; the stream counts why and goes on with the next.
            CorruptObject: the group is not what its manifest says; training stops with this line.
        """


class Part(Protocol[Item_co]):
    """One part of a mixture."""

    @property
    def name(self) -> str:
        """As the mixture has it."""

    @property
    def group_sizes(self) -> Sequence[int]:
        """How many pairs each group has, in a fixed order."""

    def identity(self, group: int) -> str:
        """What a group's pairs are made of, by its content: equal only where all of them are."""

    def open(self, group: int) -> AbstractContextManager[Group[Item_co]]:
        """Fetch a group and check it; valid inside the block.

        Raises:
            CorruptObject: it is cut off, or its hash is not its manifest's.
            KeyMissing: it is not there.
            Unavailable: the store cannot be reached.
        """
