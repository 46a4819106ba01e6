"""Measures a few steps of a run, to say what the whole of it takes. Writes nothing to the store.

What is measured is one device: a micro-batch and a step of the optimiser after it, by the reader, the networks and the
stepper of a real run. The rule by which the whole run follows is in `gim.training.projections`.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gim.errors import ConfigError
from gim.training.checkpoints.state import flatten_state
from gim.training.compiling import Compiled
from gim.training.config import TrainingConfig
from gim.training.data.opening import OpenedPart, open_parts
from gim.training.data.parts import Draw, Group, Part
from gim.training.data.posed.part import PosedPart
from gim.training.data.stream import MicroBatches
from gim.training.ema import WeightAverage
from gim.training.features.extractor import FrozenExtractor
from gim.training.features.keeping import kept_parts
from gim.training.features.loading import extractor_of
from gim.training.features.pending import PendingFeatures
from gim.training.models.base import Trainable
from gim.training.models.registry import build_trainable
from gim.training.optimiser import build_optimiser, set_learning_rate
from gim.training.projections import Estimate, FeatureCost, StepSeconds
from gim.training.run import RunRequest
from gim.training.samples import Sample, SampleSkipped
from gim.training.schedule import learning_rate
from gim.training.starting import start_weights
from gim.training.step import Stepper
from gim.training.timing import StepClock

_WARM_UP = 2  # micro-batches besides those that the reader has ready by then
_GROUPS, _PAIRS_OF_GROUP = 4, 4  # of each part, whose features are made


def estimate(request: RunRequest, num_steps: int = 20, *, price_per_device_hour: float | None = None) -> Estimate:
    """What the run of a request takes, from a few micro-batches of it.

    Args:
        request: as `train` takes it; what is told of a run is not told.
        num_steps: micro-batches that are measured, after some that warm up.
        price_per_device_hour: for the cost, in any unit.

    Raises:
        ConfigError: there are several processes, or nothing is to be measured.
        And as `gim.training.run.train`, but for what is about the run's own checkpoints.
    """
    if request.ranks.world_size > 1:
        raise ConfigError("--dry-run measures one device: start it without torchrun")
    if num_steps < 1:
        raise ConfigError(f"--dry-run needs at least one step to measure, got {num_steps}")
    with ExitStack() as stack:
        return _Measured(request, stack).estimate(num_steps, price_per_device_hour)


class _Measured:
    """A run as far as a few steps need it."""

    def __init__(self, request: RunRequest, stack: ExitStack) -> None:
        self._request, self._stack, self._config = request, stack, request.config
        self._device = request.ranks.device
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        torch.manual_seed(self._config.loop.seed)
        self._model = self._built()
        self._extractor = extractor_of(self._model, self._config.features, request.resources)
        self._parts = self._opened("train")
        self._held_out = self._opened("held_out") if self._config.keep.validation_pairs else []

    def _built(self) -> Trainable:
        request, config = self._request, self._config
        model = build_trainable(config.architecture, config.model, request.resources.weights)
        start = start_weights(request.store, config.start, request.resources)
        if start.state:
            model.load_published(start.state, start.name)
        return model.to(self._device).train()

    def _opened(self, split: Any) -> list[OpenedPart[Sample]]:
        request = self._request
        return open_parts(request.store, request.dataset, self._config, split, posed_roots=request.posed_roots)

    def estimate(self, num_steps: int, price: float | None) -> Estimate:
        config, model = self._config, self._model
        optimiser = build_optimiser(model.groups(), config.optimiser, architecture=config.architecture)
        set_learning_rate(optimiser, learning_rate(0, config.optimiser, config.schedule))
        average = WeightAverage(model, config.loop.ema) if config.loop.ema else None
        seen, features, collate = self._seen()
        reader = MicroBatches([item.part for item in seen], [item.share for item in seen], config, collate=collate)
        with reader:
            seconds = self._steps(reader, optimiser, average, num_steps)
        memory, memory_of = self._memory()
        return Estimate(
            recipe=config.recipe,
            architecture=config.architecture,
            dataset_id=self._request.dataset.dataset_id,
            device=_device_name(self._device),
            precision=config.loop.precision,
            num_parameters=sum(item.numel() for item in model.parameters() if item.requires_grad),
            num_measured=num_steps,
            batch_size=config.loop.batch_size,
            num_lanes=config.num_lanes,
            num_steps=config.num_steps,
            num_validation_batches=self._num_validation_batches(),
            seconds=seconds,
            memory_bytes=memory,
            memory_of=memory_of,
            checkpoint_bytes=_checkpoint_bytes(model, optimiser, average),
            num_checkpoints=min(_num_due(config, config.keep.every_pairs), _num_kept(config)),
            features=features,
            price_per_device_hour=price,
        )

    def _steps(
        self,
        reader: MicroBatches[Any, Any],
        optimiser: torch.optim.Optimizer,
        average: WeightAverage | None,
        num_steps: int,
    ) -> StepSeconds:
        """Mean seconds of a step of one micro-batch."""
        loop = self._config.loop
        clock = StepClock(self._device)
        module = Compiled(self._model) if loop.compile else self._model
        stepper = Stepper(
            clock.timed(module),
            optimiser,
            device=self._device,
            loop=loop,
            config=self._config.optimiser,
        )
        source = clock.source(reader)
        for number in range(-_WARM_UP - self._config.reader.prefetch_batches, num_steps):
            if number == 0:
                clock.reset()
            with clock.step(optimiser):
                stepper.step(source, 1)
                if average is not None:
                    average.update(self._model)
        return StepSeconds(**{phase: seconds / num_steps for phase, seconds in clock.seconds.items()})

    def _seen(self) -> tuple[Sequence[OpenedPart[Any]], FeatureCost | None, Callable[[Sequence[Any]], Any]]:
        """The parts as the network sees them, and what it costs to keep their features."""
        if self._extractor is None:
            return self._parts, None, self._model.collate
        if not self._config.features.variants:
            return self._parts, None, partial(PendingFeatures, extractor=self._extractor, model=self._model)
        seen, features = self._few_kept(self._extractor)
        return seen, features, self._model.collate

    def _few_kept(self, extractor: FrozenExtractor) -> tuple[list[OpenedPart[Any]], FeatureCost]:
        """A few pairs of each part with their features, kept for as long as the estimate takes."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gim-dry-run-"))
        config = self._config
        few = [
            item if isinstance(item.part, PosedPart) else OpenedPart(_FewPairs.of(item.part), item.share)
            for item in self._parts  # features of posed sets cannot be kept, and `kept_parts` says so
        ]
        _warm_up(extractor, few[0].part)
        shortened = replace(config, features=replace(config.features, cache=folder, variants=1))
        began = time.perf_counter()
        kept = kept_parts(few, extractor, shortened, self._request.ranks)
        took = time.perf_counter() - began
        num = sum(sum(item.part.group_sizes) for item in few)
        num_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
        everything = sum(sum(item.part.group_sizes) for item in (*self._parts, *self._held_out))
        cost = FeatureCost(
            num_pairs=everything * config.features.variants,
            seconds_per_pair=took / num,
            bytes_per_pair=num_bytes / num,
            max_bytes=config.features.max_cache_gib * 2**30,
        )
        return kept, cost

    def _num_validation_batches(self) -> int:
        """Micro-batches that all validations of the run look at together."""
        config = self._config
        pairs = min(config.keep.validation_pairs, sum(sum(item.part.group_sizes) for item in self._held_out))
        return _num_due(config, config.keep.validate_every_pairs) * -(-pairs // config.loop.batch_size)

    def _memory(self) -> tuple[int, str]:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device), "most allocated on the GPU"
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "most resident of this process"


@dataclass(frozen=True, slots=True)
class _FewPairs:
    """Some pairs of some groups of a part."""

    part: Part[Sample]
    groups: tuple[int, ...]
    group_sizes: tuple[int, ...]

    @classmethod
    def of(cls, part: Part[Sample]) -> "_FewPairs":
        """Groups from all over the part, and the first pairs of each."""
        filled = [group for group, size in enumerate(part.group_sizes) if size]
        groups = tuple(filled[:: -(-len(filled) // _GROUPS)])
        return cls(part, groups, tuple(min(part.group_sizes[group], _PAIRS_OF_GROUP) for group in groups))

    @property
    def name(self) -> str:
        return self.part.name

    def identity(self, group: int) -> str:
        return self.part.identity(self.groups[group])

    def open(self, group: int) -> AbstractContextManager[Group[Sample]]:
        return self.part.open(self.groups[group])


def _warm_up(extractor: FrozenExtractor, part: Part[Sample]) -> None:
    """What a network does once, as choosing its kernels, is not a part of what a pair costs."""
    with part.open(0) as group, suppress(SampleSkipped):
        extractor.features([group.sample(0, Draw(0, 0))])


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} with {len(os.sched_getaffinity(0))} cores"


def _checkpoint_bytes(model: Trainable, optimiser: torch.optim.Optimizer, average: WeightAverage | None) -> int:
    """What a checkpoint takes: the state and the published weights, without the little that is JSON."""
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    if average is not None:
        state["average"] = average.state_dict()
    published = model.published(average.averaged() if average else model.state_dict())
    tensors = [*flatten_state(state).tensors.values(), *published.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _num_due(config: TrainingConfig, every_pairs: int) -> int:
    """How often in a run something is due that is done in so many pairs, and at the end."""
    return -(-config.schedule.pairs // every_pairs) if every_pairs else 1


def _num_kept(config: TrainingConfig) -> int:
    """Most checkpoints that stay; none is among the best of a run without a validation."""
    keep = config.keep
    has_score = bool(keep.validation_pairs or keep.benchmarks)
    return max(keep.keep_last, 1) + (keep.keep_best if has_score else 0)
