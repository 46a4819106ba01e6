"""Whole runs of training in tenths of a second: a network of a few hundred weights on films of a few pairs. Not a test.

The network has all that a checkpoint, a step and several ranks can get wrong: running statistics, drop-out, and heads
of which a micro-batch trains the one that goes with its truth.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import torch
from torch.nn.functional import grid_sample

from gim.datasets.manifest import DatasetManifest
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.training import run
from gim.training.batches import ImageBatch, LabelsBatch
from gim.training.collate import image_batch
from gim.training.config import (
    KeepConfig,
    LoopConfig,
    MixConfig,
    OptimiserConfig,
    ReaderConfig,
    SampleConfig,
    ScheduleConfig,
    TrainingConfig,
)
from gim.training.journal import Point
from gim.training.models.base import Loss, Trainable
from gim.training.run import RunRequest, RunResult, train
from gim.weights.checkpoint import StateDict
from tests.unit.training.data.films import dataset_of, write_film

BATCH, NUM_STEPS, INTERVAL = 4, 8, 3
CONFIG = TrainingConfig(
    recipe="small",
    architecture="pixels",
    mix=MixConfig(video=1.0, homography=1.0),
    reader=ReaderConfig(threads=1, prefetch_batches=2),
    sample=SampleConfig(width=48, height=32, min_labels=4, max_labels=32),
    optimiser=OptimiserConfig(lr=0.01, clip_norm=1.0),
    schedule=ScheduleConfig(pairs=BATCH * NUM_STEPS),
    loop=LoopConfig(batch_size=1, canonical_batch=BATCH, max_bad_batches=3),
    keep=KeepConfig(
        every_pairs=BATCH * INTERVAL,
        keep_last=9,
        keep_best=0,
        validate_every_pairs=0,
        validation_pairs=0,
        log_every_pairs=1,
    ),
)


class Pixels(Trainable):
    """Descriptors of pixels that are to be equal where the truth says so, and of length 1."""

    architecture = "pixels"
    matcher = "none"
    sees = "images"

    def __init__(self, is_bad: Callable[[ImageBatch], bool] = lambda _: False, *, runs: bool = True) -> None:
        """Make fresh weights.

        Args:
            is_bad: whether the images of a batch become no numbers on the way.
            runs: keep running statistics; each rank has those of its own micro-batches.
        """
        super().__init__()
        self.trunk = torch.nn.Sequential(
            torch.nn.Conv2d(3, 6, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(6, track_running_stats=runs),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.1),
        )
        self.heads = torch.nn.ModuleDict({kind: torch.nn.Conv2d(6, 4, 1) for kind in ("labels", "dense")})
        self._is_bad = is_bad

    def collate(self, samples: Sequence[Any]) -> ImageBatch:
        return image_batch(samples)

    def forward(self, batch: ImageBatch) -> Loss:
        kind = "labels" if isinstance(batch.truth, LabelsBatch) else "dense"
        scale = float("nan") if self._is_bad(batch) else 1.0
        maps = [self.heads[kind](self.trunk(images * scale)) for images in (batch.images0, batch.images1)]
        points0, points1, is_true = _places(batch)
        found0, found1 = _at(maps[0], points0), _at(maps[1], points1)
        cost = ((found0 - found1) ** 2).sum(1) + (found0.norm(dim=1) - 1) ** 2
        loss = (cost * is_true).sum() / is_true.sum().clamp(min=1)
        return Loss(loss, {kind: loss.detach()}, int(is_true.sum()))

    def published(self, state: StateDict) -> StateDict:
        return {f"pixels.{name}": value for name, value in state.items()}

    def load_published(self, state: StateDict, source: str) -> None:
        own = {name.removeprefix("pixels."): value for name, value in state.items()}
        if own.keys() != self.state_dict().keys():
            raise InvalidInput(f"{source}: not the weights of pixels")
        self.load_state_dict(own)


def _places(batch: ImageBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions that are to look the same [B, N, 2], and which of them count [B, N]."""
    if isinstance(batch.truth, LabelsBatch):
        return batch.truth.points[..., :2], batch.truth.points[..., 2:], batch.truth.is_label
    height, width = batch.images0.shape[2:]
    grid = torch.cartesian_prod(torch.arange(2.0, width, 6), torch.arange(2.0, height, 6))
    points0 = grid.expand(len(batch.names), -1, -1)
    moved = batch.truth.to_image1(points0)
    return points0, torch.where(moved.is_visible[..., None], moved.positions, 0.0), moved.is_visible


def _at(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """[B, C, N] of maps [B, C, H, W]."""
    size = torch.tensor([maps.shape[3], maps.shape[2]])
    return grid_sample(maps, ((2 * points + 1) / size - 1)[:, None], align_corners=False)[:, :, 0]


@dataclass
class Heard:
    """What a run says of itself."""

    points: list[Point] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)

    @property
    def losses(self) -> dict[int, float]:
        """By step."""
        return {point.step: point.values["loss"] for point in self.points if "loss" in point.values}


def small_dataset(store: Store, **options: Any) -> DatasetManifest:
    """Two films of five pairs each; `options` are those of `write_film`."""
    return dataset_of(write_film(store, 0, **options), write_film(store, 1, **options))


def with_held_out(dataset: DatasetManifest) -> DatasetManifest:
    """The same with the last film held out."""
    *others, last = dataset.videos
    return replace(dataset, videos=[*others, replace(last, split="held_out")])


def changed(config: TrainingConfig = CONFIG, **groups: dict[str, Any]) -> TrainingConfig:
    """A config with other settings, by group: `loop={"ema": 0.5}`."""
    return replace(config, **{name: replace(getattr(config, name), **values) for name, values in groups.items()})


@contextmanager
def pixels(is_bad: Callable[[ImageBatch], bool] = lambda _: False) -> Iterator[None]:
    """Inside the block every architecture is `Pixels`."""
    with mock.patch.object(run, "build_trainable", lambda _, settings, __: Pixels(is_bad, **settings)):
        yield


def train_small(
    store: Store, dataset: DatasetManifest, config: TrainingConfig = CONFIG, *, until: int = 0, **options: Any
) -> tuple[RunResult, Heard]:
    """A run of `Pixels`, told to stop after the step `until`; `options` are those of the request."""
    heard = Heard()
    request = RunRequest(
        store=store,
        dataset=dataset,
        config=config,
        say=heard.lines.append,
        on_point=heard.points.append,
        on_saved=heard.saved.append,
        is_told_to_stop=lambda: bool(until) and max(heard.losses, default=0) >= until,
    )
    with pixels(options.pop("is_bad", lambda _: False)):
        return train(replace(request, **options)), heard
