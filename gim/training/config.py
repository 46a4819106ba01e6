"""Settings of a training run: what a recipe of `gim/training/recipes/` fills in. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from gim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MixConfig:
    """How often each kind of data is drawn, relative to the others; one micro-batch holds one kind."""

    video: float = 1.0  # video labels of the dataset
    homography: float = 0.0  # frames of the dataset's videos, warped by random homographies
    posed: float = 0.0  # each posed set of the dataset
    resample: bool = False  # posed sets: draw as many pairs of every scene in each epoch, as upstream's --resample


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """How samples are read. Nothing here but `shuffle_pairs` and the seed changes which they are."""

    shuffle_pairs: int = 512  # of each lane, among which the next is drawn
    threads: int = 0  # that decode and augment; 0: all cores but one
    prefetch_batches: int = 4  # ready before they are asked for
    verify: bool = True  # every shard against the hash in the dataset's manifest, when it is fetched


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """What a network sees of a pair."""

    width: int = 640  # pixels; an image is made to fit and filled up with black to the right and below
    height: int = 480
    augment: str = "paper"  # none, paper, upstream: see gim.training.augment
    min_labels: int = 64  # of a video pair after augmentation; fewer: another try, then counted and left out
    max_tries: int = 30  # of augmentation
    max_labels: int = 2048  # used of a pair, drawn at random


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Of architectures on frozen features."""

    max_keypoints: int = 1024  # of an image
    at_labels: bool = True  # keypoints of video pairs are the labelled pixels; else detected ones near labels count
    label_share: float = 0.5  # of `max_keypoints`, at most, that are labels; detected ones fill up the rest
    variants: int = 0  # each pair is augmented in so many fixed ways, whose features are kept; 0: anew each time
    cache: str = ""  # folder of kept features; empty: the user's cache folder
    max_cache_gib: float = 50.0  # above, features are found anew each time


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """How weights move."""

    name: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-4  # after the warm-up, for `canonical_batch`
    min_lr: float = 0.0  # at the end
    group_lr: dict[str, float] = field(default_factory=dict)  # factor of the learning rate by group, as encoder = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.999)
    clip_norm: float = 0.0  # of all gradients together; 0: not clipped


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How long, and how the learning rate goes. Counted in pairs, so that the number of devices changes nothing."""

    pairs: int = 20_000  # in all
    warmup_pairs: int = 0
    warmup_from: float = 0.1  # share of the learning rate at the start
    decay: Literal["linear", "cosine", "constant", "exponential"] = "linear"
    decay_from_pairs: int = 0  # of exponential: from here on ...
    decay_pairs: int = 0  # ... it falls to a tenth in so many


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How a step is computed."""

    batch_size: int = 1  # pairs of a micro-batch: what one device holds at once
    canonical_batch: int = 16  # pairs of a step, over all devices: micro-batches are accumulated up to it
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False  # torch.compile
    ema: float = 0.0  # decay of the average of the weights per step, which is what is published; 0: none
    sync_batch_norm: bool = False
    seed: int = 3407
    timeout_seconds: float = 3600.0  # that ranks wait for each other, as while the first one scores benchmarks
    max_bad_batches: int = 100  # losses or gradients that are no numbers, in a row; more end the run


@dataclass(frozen=True, slots=True)
class KeepConfig:
    """What is stored of a run, and how often."""

    every_pairs: int = 2000  # between two checkpoints
    keep_last: int = 2
    keep_best: int = 3  # by the validation
    validate_every_pairs: int = 4000
    validation_pairs: int = 200  # held-out pairs whose loss is measured; 0: none
    benchmarks: tuple[str, ...] = ()  # names in the store, whose AUC@5 says which checkpoint is best
    log_every_pairs: int = 160  # between two points of the curves
    pictures_every_pairs: int = 4000  # of the fixed pairs
    num_pictures: int = 2
    tensorboard: str = ""  # folder of TensorBoard's files, a folder in it for each run; empty: none


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One run of training. A recipe states every number with its source."""

    recipe: str = "tiny"  # a name in `gim/training/recipes/`, or the path of a user's TOML file
    source: str = ""  # where the recipe says its numbers come from
    architecture: str = "lightglue"  # a file in `gim/training/models/`
    model: dict[str, Any] = field(default_factory=dict)  # the architecture's own settings
    start: str = ""  # weights to begin with: a catalogue's name, a file, run:<id>; empty: from scratch
    mix: MixConfig = field(default_factory=MixConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConfigError: the message names the settings.
        """
        loop, mix = self.loop, self.mix
        if loop.canonical_batch % loop.batch_size:
            raise ConfigError(
                f"loop.canonical_batch {loop.canonical_batch} is no multiple of loop.batch_size {loop.batch_size}"
            )
        if min(mix.video, mix.homography, mix.posed) < 0 or mix.video + mix.homography + mix.posed <= 0:
            raise ConfigError("mix: shares are at least 0, and one is more")
        if self.schedule.pairs < loop.canonical_batch:
            raise ConfigError(f"schedule.pairs {self.schedule.pairs}: less than one step of {loop.canonical_batch}")

    @property
    def num_steps(self) -> int:
        """Steps of the optimiser in the whole run."""
        return self.schedule.pairs // self.loop.canonical_batch

    @property
    def num_lanes(self) -> int:
        """Micro-batches of a step. Each comes from a lane of its own, and a device owns some of the lanes."""
        return self.loop.canonical_batch // self.loop.batch_size
