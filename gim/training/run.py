"""One rank's run of training from a dataset and a recipe to its last checkpoint. Composes; computes nothing itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from gim.datasets.manifest import DatasetManifest, Split
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry, Telemetry
from gim.records import CheckpointManifest
from gim.training.checkpoints.listing import check_new
from gim.training.checkpoints.reading import Loaded, resume
from gim.training.checkpoints.saver import CheckpointSaver
from gim.training.compiling import Compiled
from gim.training.config import TrainingConfig
from gim.training.data.opening import OpenedPart, open_parts
from gim.training.data.stream import MicroBatches, lanes_of_rank
from gim.training.distributed import Ranks
from gim.training.ema import WeightAverage
from gim.training.features.extractor import FrozenExtractor
from gim.training.features.keeping import kept_parts
from gim.training.features.loading import extractor_of
from gim.training.features.pending import PendingFeatures
from gim.training.hooks import RunHooks
from gim.training.journal import Curves, Journal, Point
from gim.training.loop import Ended, Loop
from gim.training.models.base import Trainable
from gim.training.models.registry import build_trainable
from gim.training.optimiser import build_optimiser
from gim.training.publishing.cards import publish_cards
from gim.training.publishing.ingredients import Ingredients, used_weights
from gim.training.publishing.licence import licence_of
from gim.training.run_record import RunRecord, begin_run, check_run, run_id_of, settings_of
from gim.training.starting import start_weights
from gim.training.step import Stepper
from gim.weights.checkpoint import StateDict


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to train, on what, and whom to tell."""

    store: Store  # of the dataset and of the checkpoints
    dataset: DatasetManifest
    config: TrainingConfig
    resources: ModelResources = field(default_factory=ModelResources)
    ranks: Ranks = field(default_factory=Ranks)
    posed_roots: Mapping[str, str] = field(default_factory=dict)  # where posed sets lie here, by name
    run_id: str = ""  # empty: made of what shapes the weights
    is_resumed: bool = False
    telemetry: Telemetry = field(default_factory=NullTelemetry)
    curves: Callable[[str, int], Curves] | None = None  # opened for a run's id, from a step on
    judge: Callable[[Trainable, StateDict], Mapping[str, float]] | None = None
    draw: Callable[[Trainable, StateDict, int], None] | None = None
    is_told_to_stop: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda _: None
    on_saved: Callable[[int], None] = lambda _: None
    on_prepared: Callable[[int, int], None] = lambda _done, _total: None  # pairs whose features are kept
    on_point: Callable[[Point], None] = lambda _: None  # of the curves


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run."""

    run_id: str
    ended: Ended
    step: int
    num_bad_steps: int
    skipped: dict[str, int]  # "<part>/<reason>" -> pairs of this rank without a sample
    labels_outside: int = 0  # of this rank's pairs, outside their frames and left out


def train(request: RunRequest) -> RunResult:
    """Train, from the start or from the last checkpoint, until the end or until told to stop.

    Raises:
        ConfigError: settings that the architecture does not have, or a number of ranks that does not divide the step.
        InvalidInput: the dataset is empty; the run is there and not resumed, or was begun with something else;
            weights to start from are of another architecture; gradients stay no numbers.
        CorruptObject: a shard is not the one that the dataset lists.
        Unavailable: the store is away, or the last checkpoint could not be stored.
    """
    with ExitStack() as stack:
        run = _Run(request, stack)
        try:
            result = run.train()
        except _StoppedEarlyError:
            return RunResult(run.run_id, "stopped", 0, 0, {})
    if result.ended == "finished" and request.ranks.is_first:  # after the last score is stored
        publish_cards(request.store, result.run_id, request.dataset)
    return result


class _StoppedEarlyError(Exception):
    """Told to stop before the first step; features that are kept by now are found again."""


class _Run:
    """What is open while a run goes on."""

    def __init__(self, request: RunRequest, stack: ExitStack) -> None:
        self._request, self._stack = request, stack
        self._read: list[Any] = []
        config, ranks = request.config, request.ranks
        self._config, self._ranks = config, ranks
        self._lanes_per_rank = len(lanes_of_rank(config.num_lanes, ranks.rank, ranks.world_size))
        torch.manual_seed(config.loop.seed)  # of fresh weights; every micro-batch has a seed of its own
        self._model = build_trainable(config.architecture, config.model, request.resources.weights)
        self._start = start_weights(request.store, config.start, request.resources)
        self.run_id = request.run_id or run_id_of(config, request.dataset.dataset_id, self._start.sha256)

    def train(self) -> RunResult:
        config, ranks, model = self._config, self._ranks, self._model
        loaded = self._loaded()
        if loaded is None and self._start.state:
            model.load_published(self._start.state, self._start.name)
        model.to(ranks.device).train()
        optimiser = build_optimiser(model.groups(), config.optimiser, architecture=config.architecture)
        average = WeightAverage(model, config.loop.ema) if config.loop.ema else None
        self._extractor = self._open_extractor()
        reader = self._stack.enter_context(self._reader(self._parts("train")))
        if loaded is not None:
            _restore(loaded.state, model, optimiser, average, reader)
        hooks = self._hooks(optimiser, reader, average, loaded)
        hooks.last_step = loaded.step if loaded else 0
        if ranks.is_first:
            begin_run(self._request.store, self._record())
        loop = Loop(
            config=config,
            stepper=Stepper(self._wrapped(), optimiser, device=ranks.device, loop=config.loop, config=config.optimiser),
            optimiser=optimiser,
            micro_batches=reader,
            lanes_per_rank=self._lanes_per_rank,
            hooks=hooks,
        )
        ended = loop.run(loaded.step if loaded else 0)
        skipped = {f"{part}/{reason}": count for (part, reason), count in sorted(reader.skipped.items())}
        outside = sum(getattr(part, "labels_outside", 0) for part in self._read)
        return RunResult(self.run_id, ended, hooks.last_step, hooks.num_bad, skipped, outside)

    def _loaded(self) -> Loaded | None:
        """The checkpoint that the run goes on from; tells of those that are damaged."""
        request = self._request
        if request.ranks.is_first:
            check_run(request.store, self._record())
        if not request.is_resumed:
            check_new(request.store, self.run_id)
            return None
        loaded = resume(request.store, self.run_id, request.ranks)
        for damaged in loaded.passed_over if loaded else ():
            request.say(f"checkpoint {damaged.step} is passed over: {damaged.reason}")
        if loaded is None:
            request.say(f"run {self.run_id} has no checkpoint yet: it begins")
        return loaded

    def _record(self) -> RunRecord:
        config = self._config
        return RunRecord(
            self.run_id, config.recipe, self._request.dataset.dataset_id, self._start.sha256, settings_of(config)
        )

    def _open_extractor(self) -> FrozenExtractor | None:
        if self._model.sees == "images":
            return None
        return extractor_of(self._model, self._config.features, self._request.resources)

    def _parts(self, split: Split) -> list[OpenedPart[Any]]:
        """The parts of a split, seen through the extractor where the run keeps features."""
        request = self._request
        parts = open_parts(request.store, request.dataset, self._config, split, posed_roots=request.posed_roots)
        self._read += [item.part for item in parts]
        if self._extractor is None or not self._config.features.variants:
            return parts
        return kept_parts(parts, self._extractor, self._config, self._ranks, report=self._say_prepared, say=request.say)

    def _say_prepared(self, done: int, total: int) -> None:
        self._request.on_prepared(done, total)
        if self._request.is_told_to_stop():
            raise _StoppedEarlyError

    def _reader(self, parts: Sequence[OpenedPart[Any]], config: TrainingConfig | None = None) -> MicroBatches[Any, Any]:
        return MicroBatches(
            [item.part for item in parts],
            [item.share for item in parts],
            config or self._config,
            collate=self._collate(),
            rank=self._ranks.rank,
            world_size=self._ranks.world_size,
        )

    def _collate(self) -> Callable[[Sequence[Any]], Any]:
        if self._extractor is None or self._config.features.variants:
            return self._model.collate
        return partial(PendingFeatures, extractor=self._extractor, model=self._model)

    def _wrapped(self) -> torch.nn.Module:
        """The model as steps call it: over all ranks, compiled."""
        module: torch.nn.Module = self._model
        if self._config.loop.compile:
            module = Compiled(module)
        if self._ranks.world_size == 1:
            return module
        if self._config.loop.sync_batch_norm and self._ranks.device.type == "cuda":
            module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        # Parts of the mixture train different heads, and ranks meet different parts in one step.
        wrapped = DistributedDataParallel(module, find_unused_parameters=True)
        # Not overwritten with the first rank's: `gim.training.statistics` puts them together. (As an argument it has
        # another name in every other version of torch.)
        wrapped.broadcast_buffers = False
        return wrapped

    def _hooks(
        self,
        optimiser: torch.optim.Optimizer,
        reader: MicroBatches[Any, Any],
        average: WeightAverage | None,
        loaded: Loaded | None,
    ) -> RunHooks:
        request, config, ranks = self._request, self._config, self._ranks
        held_out, num_held_out = self._held_out()
        journal = saver = None
        if ranks.is_first:
            step = loaded.step if loaded else 0
            curves = request.curves(self.run_id, step) if request.curves else None
            if curves is not None:
                self._stack.callback(curves.close)
            journal = Journal(
                request.store,
                self.run_id,
                first_step=step,
                telemetry=request.telemetry,
                curves=curves,
                on_point=request.on_point,
            )
            saver = self._stack.enter_context(self._saver(loaded))
        return RunHooks(
            run_id=self.run_id,
            config=config,
            store=request.store,
            ranks=ranks,
            model=self._model,
            optimiser=optimiser,
            reader=reader,
            journal=journal,
            saver=saver,
            average=average,
            held_out=held_out,
            num_held_out=num_held_out,
            judge=partial(request.judge, self._model) if request.judge else None,
            draw_pairs=partial(request.draw, self._model) if request.draw else None,
            is_told_to_stop=request.is_told_to_stop,
            say=request.say,
            on_saved=request.on_saved,
        )

    def _saver(self, loaded: Loaded | None) -> CheckpointSaver:
        bare = CheckpointManifest(
            run_id=self.run_id,
            step=0,
            matcher=self._model.matcher,
            files=[],
            dataset_id=self._request.dataset.dataset_id,
            settings=dict(self._model.matcher_settings()),
        )
        made_with = Ingredients(
            start=self._start.used,
            model=self._config.model,
            extractor=self._extractor.weights if self._extractor else None,
        )
        request, keep = self._request, self._config.keep
        weights = used_weights(bare, made_with, request.resources.weights, self._model.weights_setting)
        licence = licence_of(request.dataset, weights, self._config.mix)
        template = replace(bare, weights=weights, licence=licence)
        return CheckpointSaver(
            request.store,
            template,
            keep_last=keep.keep_last,
            keep_best=keep.keep_best,
            resumed_from=loaded.step if loaded else None,
        )

    def _held_out(self) -> tuple[Callable[[], AbstractContextManager[Iterator[Any]]] | None, int]:
        """How the held-out pairs are opened, and how many micro-batches of them are this rank's."""
        keep, loop = self._config.keep, self._config.loop
        if not keep.validation_pairs:
            return None, 0
        parts = self._parts("held_out")
        if not parts:
            self._request.say(
                f"dataset {self._request.dataset.dataset_id} holds no video out: there is no validation, and the last "
                "checkpoints are kept"
            )
            return None, 0
        pairs = min(keep.validation_pairs, sum(sum(item.part.group_sizes) for item in parts))
        num = max(1, pairs // (loop.batch_size * self._ranks.world_size))
        return lambda: closing(self._reader(parts)), num


def _restore(
    state: Mapping[str, Any],
    model: Trainable,
    optimiser: torch.optim.Optimizer,
    average: WeightAverage | None,
    reader: MicroBatches[Any, Any],
) -> None:
    """Put a checkpoint's state back."""
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    if average is not None:
        average.load_state_dict(state["average"])
    reader.restore(state["reader"])
