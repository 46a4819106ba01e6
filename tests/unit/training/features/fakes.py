"""Parts and networks that cost nothing and whose every answer is known. Not a test."""

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from gim.errors import CorruptObject
from gim.inference.config import InferenceConfig
from gim.records import Features
from gim.training.data.parts import Draw
from gim.training.features.extractor import FrozenExtractor
from gim.training.features.settings import KeypointSettings
from gim.training.samples import Homography, Labels, Sample, SampleSkipped

SIZE = (64, 48)
DESCRIPTOR_SIZE = 8


def sample_of(name: str, rng: np.random.Generator, *, num_labels: int = 30, part: str = "video") -> Sample:
    """Random images whose lower right corner is padding; labels on a grid 5 px wide, in any order, and three beyond."""
    width, height = SIZE
    images = rng.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    valid = np.ones((2, height, width), np.bool_)
    valid[:, -8:] = valid[:, :, -8:] = False
    grid = np.stack(np.meshgrid(np.arange(3, 54, 5), np.arange(3, 38, 5)), 2).reshape(-1, 2)
    pairs = np.hstack([rng.permutation(grid)[:num_labels], rng.permutation(grid)[:num_labels]]) + 0.25
    outside = [[60, 10, 10, 10], [10, 10, 10, 44], [-3, 10, 10, 10]]
    points = rng.permutation(np.vstack([pairs, outside])).astype(np.float32)
    return Sample(name, part, *images, *valid, Labels(points))


@dataclass
class FakePart:
    """Groups of random pairs, each the work of its place and draw; the second and fourth have homographies."""

    name: str = "video"
    group_sizes: tuple[int, ...] = (5, 11)
    version: str = "1"  # of its contents
    skips: frozenset[tuple[int, int]] = frozenset()  # (index, epoch)
    made: Counter[tuple[int, int, int]] = field(default_factory=Counter)  # (group, index, epoch)
    opened: Counter[int] = field(default_factory=Counter)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def identity(self, group: int) -> str:
        return f"shard-{group}@{self.version}"

    @contextmanager
    def open(self, group: int) -> Iterator["FakeGroup"]:
        self.opened[group] += 1
        yield FakeGroup(self, group)


@dataclass
class FakeGroup:
    part: FakePart
    group: int

    def sample(self, index: int, draw: Draw) -> Sample:
        with self.part.guard:
            self.part.made[self.group, index, draw.epoch] += 1
        if self.part.version == "gone":
            raise CorruptObject("the shard is gone")
        if (index, draw.epoch) in self.part.skips:
            raise SampleSkipped("too_few_labels", f"{index}: 3 of 64")
        rng = np.random.default_rng([ord(self.part.version[0]), self.group, index, draw.seed, draw.epoch])
        sample = sample_of(f"{self.group}/{index}", rng, part=self.part.name)
        if self.group % 2:
            return dataclasses.replace(sample, truth=Homography(rng.normal(size=(3, 3))))
        return sample


class FakeNetwork:
    """Detects every fourth pixel that is allowed; a descriptor tells the image and the place."""

    def __init__(self, max_keypoints: int) -> None:
        self.max_keypoints = max_keypoints
        self.batches: list[int] = []

    def extract_with(self, images, positions, *, min_distance_px):
        self.batches.append(len(images))
        return [self._features(*item, given) for item, given in zip(images, positions, strict=True)]

    def _features(self, image, mask, given):
        grid = np.stack(np.meshgrid(np.arange(0, SIZE[0], 4), np.arange(0, SIZE[1], 4)), 2).reshape(-1, 2)
        if mask is not None:
            grid = grid[mask[grid[:, 1], grid[:, 0]] > 0]
        keypoints = np.vstack([given, grid]).astype(np.float32)[: self.max_keypoints]
        angles = keypoints @ np.float32([0.1, 0.17]) + image.mean(dtype=np.float32)
        descriptors = np.sin(angles[:, None] * np.arange(1, DESCRIPTOR_SIZE + 1, dtype=np.float32))
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        return Features(keypoints, descriptors, 1 / (1 + np.arange(len(keypoints), dtype=np.float32)), SIZE)


def fake_extractor(**settings) -> FrozenExtractor:
    """A `FrozenExtractor` on a network without weights."""
    chosen = KeypointSettings(**{"max_keypoints": 40, "min_distance_px": 2.0, **settings})
    network = FakeNetwork(chosen.max_keypoints)
    device, inference = torch.device("cpu"), InferenceConfig(device="cpu")
    return FrozenExtractor("fake", network, chosen, descriptor_size=DESCRIPTOR_SIZE, device=device, inference=inference)
