"""The streaming reader of the trainer beside a plain one: a torch `DataLoader` over a folder of files for each pair.

    python -m bench.reader STORE [--size 640 480] [--augment paper] [--batch 16] [--pairs 600] [--rounds 3]

STORE is a folder store with finished results. The same pairs, the same augmentation, the same batches (`image_batch`),
as many threads as processes. Both take turns, for a machine that slows down; both have read their files once before,
so a disk plays no part. "Anew" is a reader's first pass, "again" its second. Besides wall time it prints processor
time of a pair, which means something on a busy machine too. Then: how long a training waits that takes as long for a
pair as the `tiny` recipe does. Stands alone, and writes nothing.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from gim.adapters.store_file import FileStore
from gim.datasets.build import plan_dataset
from gim.datasets.config import DatasetConfig
from gim.runtime.threads import one_thread_each
from gim.training.augment.apply import augment_pair
from gim.training.augment.config import augment_recipe
from gim.training.batches import ImageBatch
from gim.training.collate import image_batch
from gim.training.config import LoopConfig, ReaderConfig, SampleConfig, TrainingConfig
from gim.training.data.shards import VideoShards
from gim.training.data.stream import MicroBatches
from gim.training.data.video import VideoPart
from gim.training.samples import Labels, Sample, SampleSkipped

LEAST_RATIO = 2.0
STEP_SECONDS_PER_PAIR = 0.06  # of the `tiny` recipe on two cores: 15 to 20 pairs a second


@dataclass(frozen=True, slots=True)
class Cost:
    """What some pairs took."""

    wall: float  # seconds
    processor: float  # seconds, of this process and its children
    pairs: int

    def __str__(self) -> str:
        return f"{self.pairs / self.wall:6.1f} pairs/s, {1000 * self.processor / self.pairs:5.1f} ms of processor each"


class PlainPairs(Dataset[Sample]):
    """A folder with a folder for each pair; reads a pair as one writes it down first."""

    def __init__(self, root: Path, config: SampleConfig) -> None:
        self.folders, self.config = sorted(path for path in root.iterdir()), config
        self.augment = augment_recipe(config.augment)

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> Sample:
        config = self.config
        while True:
            try:
                return augment_pair(
                    self._read(self.folders[index]),
                    self.augment,
                    (config.width, config.height),
                    np.random.default_rng(),
                    min_labels=config.min_labels,
                    max_tries=config.max_tries,
                )
            except SampleSkipped:
                index = (index + 1) % len(self)

    def _read(self, folder: Path) -> Sample:
        image0, image1 = (cv2.imread(str(folder / f"{view}.jpg"), cv2.IMREAD_COLOR_RGB) for view in (0, 1))
        points = np.load(folder / "correspondences.npy")
        if len(points) > self.config.max_labels:
            points = points[np.random.default_rng().choice(len(points), self.config.max_labels, replace=False)]
        valids = [np.ones(image.shape[:2], np.bool_) for image in (image0, image1)]
        return Sample(folder.name, "video", image0, image1, *valids, Labels(points))


def main() -> None:
    """Measure and print."""
    options = _options()
    torch.set_num_threads(1)
    sample = SampleConfig(options.size[0], options.size[1], augment=options.augment, min_labels=32, max_labels=256)
    config = TrainingConfig(
        sample=sample,
        loop=LoopConfig(batch_size=options.batch, canonical_batch=options.batch),
        reader=ReaderConfig(threads=options.workers),
    )
    with one_thread_each(), tempfile.TemporaryDirectory() as folder, closing(FileStore(options.store)) as store:
        manifest = plan_dataset(store, DatasetConfig(recipes=tuple(options.recipe), held_out_share=0.0, verify="sizes"))
        shards = VideoShards(store, manifest, "train")
        chosen = _Few(shards, options.pairs)
        _write_files(chosen, Path(folder))
        print(f"{sum(chosen.sizes)} pairs of {len(chosen.sizes)} shards, {options.workers} threads and processes")
        rounds = [_round(chosen, Path(folder), config) for _ in range(options.rounds)]
        for name in rounds[0]:
            for costs in rounds:
                print(f"{name:12}", costs[name])
        for name in ("anew", "again"):
            wall = statistics.median(costs["plain"].wall / costs[name].wall for costs in rounds)
            spent = statistics.median(costs["plain"].processor / costs[name].processor for costs in rounds)
            print(f"{name}: {wall:.2f} x as fast, {spent:.2f} x less processor time (asked for: {LEAST_RATIO:g} x)")
        print(f"waited: {100 * _wait_share(chosen, config):.2f} % of the time (asked for: less than 5 %)")


class _Few(VideoShards):
    """The first shards, with about so many pairs."""

    def __init__(self, shards: VideoShards, num_pairs: int) -> None:
        self.__dict__.update(shards.__dict__)
        enough = int(np.searchsorted(np.cumsum(shards.sizes), num_pairs)) + 1
        self.sizes = shards.sizes[:enough]


def _round(shards: VideoShards, folder: Path, config: TrainingConfig) -> dict[str, Cost]:
    num_batches = sum(shards.sizes) // config.loop.batch_size
    loader = DataLoader(
        PlainPairs(folder, config.sample),
        config.loop.batch_size,
        shuffle=True,
        num_workers=config.reader.threads,
        collate_fn=image_batch,
        drop_last=True,
    )
    found = {"plain": _cost_of(lambda: iter(loader), num_batches, config.loop.batch_size)}
    with _reader(shards, config) as reader:
        for name in ("anew", "again"):
            found[name] = _cost_of(lambda: (item.batch for item in reader), num_batches, config.loop.batch_size)
    return found


def _reader(shards: VideoShards, config: TrainingConfig) -> MicroBatches[Sample, ImageBatch]:
    part = VideoPart(shards, config.sample, augment_recipe(config.sample.augment))
    return MicroBatches([part], [1.0], config, collate=image_batch)


def _cost_of(begin: Callable[[], Iterator[Any]], num_batches: int, batch_size: int) -> Cost:
    processor, started = _processor_seconds(), time.perf_counter()
    batches = begin()
    num_pairs = sum(len(batch.names) for batch in islice(batches, num_batches))
    wall = time.perf_counter() - started
    del batches  # ends a loader's processes, whose time counts only then
    assert num_pairs == num_batches * batch_size
    return Cost(wall, _processor_seconds() - processor, num_pairs)


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _wait_share(shards: VideoShards, config: TrainingConfig) -> float:
    """Of a training that is busy on one core, the reader having the others; without the first batch."""
    config = replace(config, reader=ReaderConfig())
    waited = 0.0
    busy = torch.rand(400, 400)
    with _reader(shards, config) as reader:
        next(reader)
        started = time.perf_counter()
        for batch in islice(reader, sum(shards.sizes) // config.loop.batch_size):
            waited += batch.wait_seconds
            # Processor time of this thread: on a busy machine a step and the reader become slower by the same factor.
            until = time.thread_time() + STEP_SECONDS_PER_PAIR * config.loop.batch_size
            while time.thread_time() < until:
                busy = busy @ busy.T / busy.norm()
        return waited / (time.perf_counter() - started)


def _write_files(shards: VideoShards, root: Path) -> None:
    for number, size in enumerate(shards.sizes):
        with shards.open(number) as shard:
            for raw in map(shard.pair, range(size)):
                folder = root / raw.name.replace("/", "-")
                folder.mkdir()
                (folder / "0.jpg").write_bytes(raw.jpeg0)
                (folder / "1.jpg").write_bytes(raw.jpeg1)
                (folder / "correspondences.npy").write_bytes(raw.labels)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.reader", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("store", type=Path, help="folder store with finished results; only read")
    parser.add_argument("--recipe", action="append", default=[], help="of the results, where there are several")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="width and height of a sample")
    parser.add_argument("--augment", default="paper")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=min(len(os.sched_getaffinity(0)), 2))
    return parser.parse_args()


if __name__ == "__main__":
    main()
