"""The very pairs of a step of a run, made again: the reader is deterministic, and so are extractors.

A lane's pairs depend on no other lane, so one lane alone can be asked for. What was skipped on the way moves a lane on,
so all pairs since the nearest checkpoint before the step are made again.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gim.datasets.manifest import read_dataset
from gim.errors import GimError, InvalidInput
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.training.checkpoints.listing import read_manifest, stored_steps
from gim.training.checkpoints.reading import checked_file
from gim.training.checkpoints.state import FlatState, rebuild_state
from gim.training.checkpoints.writing import DOCUMENT
from gim.training.config import TrainingConfig
from gim.training.data.opening import OpenedPart, open_parts
from gim.training.data.parts import Draw, Group, Part
from gim.training.data.stream import MicroBatch, MicroBatches
from gim.training.features.part import SEED_OF_VARIANTS
from gim.training.looking.runs import config_of
from gim.training.run_record import RunRecord
from gim.training.samples import Sample


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Which micro-batches are wanted."""

    store: Store
    record: RunRecord
    step: int  # of the optimiser, the first one is 1
    lane: int | None = None  # None: all
    posed_roots: Mapping[str, str] = field(default_factory=dict)
    resources: ModelResources = field(default_factory=ModelResources)
    say: Callable[[str], None] = lambda _: None

    @property
    def config(self) -> TrainingConfig:
        """Of the run."""
        return config_of(self.record)


@dataclass(frozen=True, slots=True)
class SeenBatch:
    """One micro-batch as the run saw it."""

    lane: int
    part: str
    samples: tuple[Sample, ...]
    skipped: Mapping[str, int]  # pairs of the lane that gave no sample, since its micro-batch before, by reason


def batches_of_step(request: BatchRequest) -> list[SeenBatch]:
    """Make a step's micro-batches again, by lane.

    Raises:
        InvalidInput: the run has no such step or lane, its dataset is gone, or is another one.
        CorruptObject: a shard is not what the dataset lists.
        Unavailable: the store cannot be reached.
    """
    config = request.config
    _check(request, config)
    dataset = read_dataset(request.store, request.record.dataset_id)
    parts = [
        _as_kept(item, config)
        for item in open_parts(request.store, dataset, config, "train", posed_roots=request.posed_roots)
    ]
    rank, world_size = (0, 1) if request.lane is None else (request.lane, config.num_lanes)
    reader: MicroBatches[Sample, tuple[Sample, ...]] = MicroBatches(
        [item.part for item in parts],
        [item.share for item in parts],
        config,
        collate=tuple,
        rank=rank,
        world_size=world_size,
    )
    with reader:
        done = _restore_nearest(request, reader)
        num = (request.step - done) * config.num_lanes // world_size * config.loop.batch_size
        request.say(f"making {num} pairs again, from {f'the checkpoint of step {done}' if done else 'the start'} on")
        return _of_step(reader, request.step, config.num_lanes // world_size)


def _of_step(reader: Iterator[MicroBatch[tuple[Sample, ...]]], step: int, num_lanes: int) -> list[SeenBatch]:
    found: list[SeenBatch] = []
    while len(found) < num_lanes:
        item = next(reader)
        assert item.step < step, "a reader gives micro-batches by step"
        if item.step == step - 1:  # it counts the steps before
            found.append(SeenBatch(item.lane, item.part, item.batch, item.skipped))
    return found


def _check(request: BatchRequest, config: TrainingConfig) -> None:
    run = request.record.run_id
    if not 1 <= request.step <= config.num_steps:
        raise InvalidInput(f"run {run} has the steps 1 to {config.num_steps}, and no step {request.step}")
    if request.lane is not None and not 0 <= request.lane < config.num_lanes:
        raise InvalidInput(f"a step of run {run} has the lanes 0 to {config.num_lanes - 1}, and no lane {request.lane}")


def _restore_nearest(request: BatchRequest, reader: MicroBatches[Any, Any]) -> int:
    """Put the reader where the nearest checkpoint before the step left it; gives that checkpoint's step, or 0."""
    run_id = request.record.run_id
    for step in reversed([step for step in stored_steps(request.store, run_id) if step < request.step]):
        try:
            state = _reader_state(request.store, run_id, step)
        except GimError as error:  # another one, or the start, serves as well
            request.say(f"checkpoint {step} is passed over: {error}")
            continue
        reader.restore(state)
        return step
    return 0


def _reader_state(store: Store, run_id: str, step: int) -> dict[str, Any]:
    """Where a checkpoint's reader stood, without its tensors."""
    for file in read_manifest(store, run_id, step).state:
        if file.key.endswith(f"/{DOCUMENT}"):
            with checked_file(store, file) as path:
                document = json.loads(path.read_bytes())
            return rebuild_state(FlatState({}, json.dumps(document["reader"]).encode()))
    raise InvalidInput(f"checkpoint {step} of run {run_id} does not say where its reader stood")


def _as_kept(item: OpenedPart[Sample], config: TrainingConfig) -> OpenedPart[Sample]:
    """The images of a part as the run saw them: those of kept features have fixed augmentations."""
    if not config.features.variants:
        return item
    return replace(item, part=_Kept(item.part, config.features.variants))


class _Kept:
    """A part whose pairs are augmented as `gim.training.features.part` has them augmented."""

    def __init__(self, part: Part[Sample], variants: int) -> None:
        self.name = part.name
        self.group_sizes: Sequence[int] = part.group_sizes
        self._part, self._variants = part, variants

    def identity(self, group: int) -> str:
        return self._part.identity(group)

    @contextmanager
    def open(self, group: int) -> Iterator["_KeptGroup"]:
        with self._part.open(group) as opened:
            yield _KeptGroup(opened, self._variants)


@dataclass(frozen=True, slots=True)
class _KeptGroup:
    group: Group[Sample]
    variants: int

    def sample(self, index: int, draw: Draw) -> Sample:
        return self.group.sample(index, Draw(SEED_OF_VARIANTS, draw.epoch % self.variants))
