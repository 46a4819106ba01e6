"""One tree of settings: defaults < recipe < settings file < environment `GIM_SECTION__FIELD` < `--set` and flags.

The records live beside the code they configure; `Settings` composes them, and nothing else reads the environment.
What is unknown, malformed or contradictory is a `ConfigError` of one line. The layers are our own because one of
them, the recipe, is chosen by the others, and because an unknown `GIM_*` name is an error.
"""

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from gim import toml_files
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.s3.config import S3Config
from gim.adapters.telemetry_config import TelemetryConfig
from gim.assignments import assign, flatten, leaves, overlay, typed
from gim.datasets.config import DatasetConfig
from gim.errors import ConfigError
from gim.evaluation.config import EvaluationConfig
from gim.inference.config import InferenceConfig
from gim.labels.config import PairingConfig, PropagationConfig, Recipe
from gim.rpc.config import RpcConfig
from gim.training.config import TrainingConfig
from gim.training.recipe_files import read_training_recipe
from gim.video.config import (
    DecodeLimits,
    MotionConfig,
    OverlayConfig,
    SamplingConfig,
    SegmenterConfig,
    ShotConfig,
    SourceConfig,
    VideoConfig,
)
from gim.weights.config import WeightsConfig

_PREFIX = "GIM_"
# Read by the command line and by the tests, not settings of the system.
_RECIPES = resources.files("gim") / "recipes"
_NOT_SETTINGS = ("GIM_CONFIG", "GIM_DEBUG", "GIM_REQUIRE", "GIM_SHARED", "GIM_SLOW")
_RECIPE_SECTIONS = ("sampling", "pairing", "propagation")
_RECIPE_FIELDS = ("name", "source", "required_matchers")
_SECRET_NAME = re.compile(r"(password|secret|token|credential)", re.IGNORECASE)
_SECRET_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_POSITIVE = (
    "interval_seconds", "interval_frames", "interval_frames_high_fps", "base_intervals", "merge_base_intervals",
    "threshold_px", "link_distance_px", "window_px", "line_px", "max_iterations", "segment_samples", "max_long_side",
    "analysis_width", "shard_pairs", "jobs", "max_pixels", "max_memory_bytes", "max_seconds", "stall_seconds",
    "timeout_seconds", "batch_size", "partitions", "max_deliveries", "max_message_bytes", "max_batch", "max_waiting",
    "lease_seconds", "part_bytes", "connections", "neighbours", "min_interval", "max_interval",
    "shown_runs",
)  # fmt: skip
_SHARES = ("confidence", "ratio")

_Entry = tuple[str, str, Any]  # path, where it was given, value


@dataclasses.dataclass(frozen=True, slots=True)
class RunConfig:
    """How the embedded system runs; nothing here changes the bytes it makes."""

    jobs: int = 1  # processes
    threads: int = 0  # per process; 0 = the cores shared out among the processes
    keep_features: bool = False  # leave the feature cache in the store once a video is done


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceConfig:
    """How one service process runs: ports, limits, patience. Nothing here changes the bytes it makes."""

    http_host: str = "0.0.0.0"  # of metrics and health; all addresses, as inside a pod
    http_port: int = 8080  # 0: any free one
    grace_seconds: float = 30.0  # after SIGTERM, for the message in hand; then it goes back
    setup_seconds: float = 0.0  # that a missing bucket, key or topic is waited for at the start, while others make them
    work_dir: str = ""  # for downloads and decoding; empty: a folder of the system's temporary files
    log_format: Literal["json", "console"] = "json"
    max_deliveries: int = 10  # a message that was handed out so often and never finished kills its workers: it is dead
    max_label_lag: int = 2000  # segments that wait for a matcher; above, no further video is begun
    max_store_bytes: int = 0  # held by the store; a video that may pass it (source.max_bytes) waits; 0 = no limit
    max_work_bytes: int = 0  # the same of work_dir
    pressure_seconds: float = 15.0  # between two looks at these limits


@dataclasses.dataclass(frozen=True, slots=True)
class TrainerConfig:
    """What the trainer service does beside what `dataset` and `train` say."""

    dataset: str = ""  # id of one that is there, to train on that; empty: it is made of what `dataset` describes
    dataset_only: bool = False  # make the dataset and end
    start_from_last: bool = False  # once the data have changed: begin with the last run's weights, not with train.start
    announce: Literal["kept", "each"] = "kept"  # to evaluators: what a finished run keeps; each checkpoint as it comes


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the system. `load` merges the layers and checks; so does `check` after a change by `replace`."""

    store: str = "gim-data"  # a folder, or s3://bucket
    recipe: str = "standard"  # a name in `gim/recipes/`, or the path of a user's TOML file
    recipe_source: str = ""  # where the recipe says its numbers come from
    matchers: tuple[str, ...] = ("rootsift",)
    required_matchers: tuple[str, ...] = ()  # a video without their labels is not propagated; empty: use what exists
    matcher: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # matcher name -> its own settings
    weights: WeightsConfig = dataclasses.field(default_factory=WeightsConfig)
    inference: InferenceConfig = dataclasses.field(default_factory=InferenceConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    source: SourceConfig = dataclasses.field(default_factory=SourceConfig)
    limits: DecodeLimits = dataclasses.field(default_factory=DecodeLimits)
    sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)
    shots: ShotConfig = dataclasses.field(default_factory=ShotConfig)
    motion: MotionConfig = dataclasses.field(default_factory=MotionConfig)
    overlay: OverlayConfig = dataclasses.field(default_factory=OverlayConfig)
    segmenter: SegmenterConfig = dataclasses.field(default_factory=SegmenterConfig)
    pairing: PairingConfig = dataclasses.field(default_factory=PairingConfig)
    propagation: PropagationConfig = dataclasses.field(default_factory=PropagationConfig)
    dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)
    train: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    s3: S3Config = dataclasses.field(default_factory=S3Config)
    kafka: KafkaConfig = dataclasses.field(default_factory=KafkaConfig)
    service: ServiceConfig = dataclasses.field(default_factory=ServiceConfig)
    trainer: TrainerConfig = dataclasses.field(default_factory=TrainerConfig)
    rpc: RpcConfig = dataclasses.field(default_factory=RpcConfig)
    telemetry: TelemetryConfig = dataclasses.field(default_factory=TelemetryConfig)

    @classmethod
    def load(
        cls,
        sets: Sequence[str] = (),
        config_file: Path | None = None,
        recipe: str | None = None,
        environ: Mapping[str, str] = os.environ,
        training_recipe: str | None = None,
    ) -> "Settings":
        """Merge all layers into one checked tree.

        Args:
            sets: `section.field=value` texts, the strongest layer, in order.
            config_file: a TOML file with the same sections.
            recipe: name or path of a recipe; stronger than a `recipe` setting in any layer.
            environ: where `GIM_*` names are looked up.
            training_recipe: name or path; stronger than a `train.recipe` setting in any layer.

        Raises:
            ConfigError: a name is unknown, a value malformed, or two settings contradict each other.
        """
        layers = [_file_layer(config_file), _environment_layer(environ), typed(sets)]
        recipe = recipe or _chosen(layers, "recipe") or "standard"
        training_recipe = training_recipe or _chosen(layers, "train.recipe") or "tiny"
        tree: dict[str, Any] = {}
        for layer in [_recipe_layer(recipe), _training_layer(training_recipe), *layers]:
            for path, origin, value in layer:
                assign(tree, cls, path, value, origin)
            _settle_step(tree, layer)
        assign(tree, cls, "train.recipe", training_recipe, "")
        settings = overlay(cls(), {**tree, "recipe": recipe})
        settings.check()
        return settings

    def check(self) -> None:
        """Refuse numbers out of range and contradictions between settings.

        Raises:
            ConfigError: the message names the setting, its value and what is allowed.
        """
        for path, value in leaves(self):
            _check_number(path, value)
        if (self.sampling.interval_seconds is None) == (self.sampling.interval_frames is None):
            raise ConfigError("set exactly one of sampling.interval_seconds and sampling.interval_frames")
        for name in ("pairing.base_intervals", "propagation.merge_base_intervals"):
            values = dict(leaves(self))[name]
            if list(values) != sorted(set(values)):
                raise ConfigError(f"setting {name} = {values}: expected ascending whole numbers")
        if not self.pairing.base_intervals or not self.matchers or len(set(self.matchers)) < len(self.matchers):
            raise ConfigError("pairing.base_intervals and matchers must name something, and nothing twice")
        missing = sorted(set(self.required_matchers) - set(self.matchers))
        if missing:
            raise ConfigError(f"recipe {self.recipe} requires {', '.join(missing)}: add to --matchers")
        self.train.check()

    def video_config(self) -> VideoConfig:
        """What shapes the sampled frames."""
        return VideoConfig(self.sampling, self.shots, self.motion, self.overlay, self.limits)

    def recipe_record(self) -> Recipe:
        """The effective recipe: what its file says, changed by every stronger layer."""
        name = re.sub(r"[^A-Za-z0-9_-]", "-", Path(self.recipe).stem)  # it becomes part of a key
        return Recipe(name, self.recipe_source, self.required_matchers, self.pairing, self.propagation)

    def redacted(self) -> dict[str, Any]:
        """Every effective setting by its path, in order of declaration, secrets replaced by `***`."""
        return {path: _redacted(path, value) for path, value in leaves(self)}


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return toml_files.names_in(_RECIPES)


def _chosen(layers: Sequence[Sequence[_Entry]], setting: str) -> str:
    """What the strongest layer says of a setting; empty: none says anything."""
    return next((str(value) for layer in reversed(layers) for path, _, value in reversed(layer) if path == setting), "")


def _training_layer(recipe: str) -> list[_Entry]:
    return [(f"train.{path}", f"training recipe {recipe}", value) for path, value in read_training_recipe(recipe)]


def _recipe_layer(recipe: str) -> list[_Entry]:
    origin = f"recipe {recipe}"
    if toml_files.is_path(recipe):
        document = toml_files.read_path(Path(recipe), "recipe")
    elif recipe in recipe_names():
        document = toml_files.read_name(_RECIPES, recipe)
    else:
        raise ConfigError(f"unknown recipe {recipe!r}: one of {', '.join(recipe_names())}, or the path of a .toml file")
    for name in document:
        if name not in _RECIPE_SECTIONS + _RECIPE_FIELDS:
            allowed = ", ".join(_RECIPE_FIELDS + _RECIPE_SECTIONS)
            raise ConfigError(f"unknown entry {name!r} ({origin}): a recipe has {allowed}")
    layer = [("recipe_source", origin, str(document.pop("source", "")))]
    document.pop("name", None)
    return layer + _document_layer(document, origin)


def _file_layer(path: Path | None) -> list[_Entry]:
    return _document_layer(toml_files.read_path(path, "settings file"), f"file {path}") if path else []


def _document_layer(document: Mapping[str, Any], origin: str) -> list[_Entry]:
    return [(path, origin, value) for path, value in flatten(document, Settings)]


def _environment_layer(environ: Mapping[str, str]) -> list[_Entry]:
    names = sorted(name for name in environ if name.startswith(_PREFIX) and name not in _NOT_SETTINGS)
    return [
        (name.removeprefix(_PREFIX).lower().replace("__", "."), f"environment {name}", environ[name]) for name in names
    ]


def _settle_step(tree: dict[str, Any], layer: Iterable[_Entry]) -> None:
    """The step is in seconds or in frames: a layer that gives one of them drops the other of the layers below."""
    given = {path for path, _, value in layer if str(value).lower() != "none"}
    frames = ("interval_frames", "interval_frames_high_fps")
    for mine, others in (("interval_seconds", frames), ("interval_frames", ("interval_seconds",))):
        for other in others:
            if f"sampling.{mine}" in given and f"sampling.{other}" not in given:
                tree["sampling"][other] = None


def _check_number(path: str, value: Any) -> None:
    name = path.rpartition(".")[2]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        if name in _SHARES or name.endswith("_share"):
            fits, allowed = 0 <= number <= 1, "a number from 0 to 1"
        elif name in _POSITIVE:
            fits, allowed = 0 < number < math.inf, "a number above 0"
        else:
            fits, allowed = 0 <= number < math.inf, "a number of at least 0"
        if not fits:
            raise ConfigError(f"setting {path} = {value}: expected {allowed}")


def _redacted(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redacted(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(name, item) for item in value]
    if isinstance(value, str):
        return "***" if _SECRET_NAME.search(name) and value else _SECRET_IN_URL.sub("***", value)
    return value
