"""Parts of a mixture that are no more than numbers: what was opened and made is noted. Not a test."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gim.training.data.parts import Draw
from gim.training.samples import SampleSkipped


@dataclass(frozen=True, slots=True)
class Made:
    """A sample: which pair, how often before, in which part."""

    name: str
    part: str
    epoch: int


@dataclass
class FakePart:
    """Groups of numbered pairs."""

    name: str
    group_sizes: Sequence[int]
    skips: Callable[[int, int, int], bool] = lambda group, index, epoch: False
    errors: dict[int, Exception] = field(default_factory=dict)  # by group, when it is opened
    bad_pairs: dict[tuple[int, int], Exception] = field(default_factory=dict)
    seconds: Callable[[int, int], float] = lambda group, index: 0.0  # that a pair takes
    opened: Counter[int] = field(default_factory=Counter)
    num_open: int = 0
    most_open: int = 0
    num_made: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def identity(self, group: int) -> str:
        return f"{self.name} {group}"

    @contextmanager
    def open(self, group: int) -> Iterator["FakeGroup"]:
        if group in self.errors:
            raise self.errors[group]
        with self.guard:
            self.opened[group] += 1
            self.num_open += 1
            self.most_open = max(self.most_open, self.num_open)
        opened = FakeGroup(self, group)
        yield opened
        opened.is_open = False
        with self.guard:
            self.num_open -= 1


@dataclass
class FakeGroup:
    part: FakePart
    group: int
    is_open: bool = True

    def sample(self, index: int, draw: Draw) -> Made:
        assert self.is_open
        time.sleep(self.part.seconds(self.group, index))
        assert self.is_open
        with self.part.guard:
            self.part.num_made += 1
        if (self.group, index) in self.part.bad_pairs:
            raise self.part.bad_pairs[self.group, index]
        if self.part.skips(self.group, index, draw.epoch):
            raise SampleSkipped("too_few_labels", f"{self.group}/{index}")
        return Made(f"{self.group}/{index}", self.part.name, draw.epoch)
