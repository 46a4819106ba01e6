"""What is simulated: the videos, the pods of every stage with their times, the servers they share, and prices.

All times are wall seconds of an unloaded system: what waiting for others adds is the simulation's to find. A time that
is None is not known, and has to be given: nothing here is guessed. Limits that are 0 are not there.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from gim.assignments import leaves
from gim.errors import ConfigError, InvalidInput

INGEST, PROPAGATE, EVALUATE = "ingest", "propagate", "evaluate-shards"  # groups, as the stages are called
_FROM_ONE = (
    "partitions", "segment_samples", "batch_pairs", "shard_pairs", "poll_seconds", "pressure_seconds", "record_seconds",
)  # fmt: skip
_MOST_PODS = 32000  # of a stage


@dataclass(frozen=True, slots=True)
class VideosPlan:
    """The videos that are asked for, and what becomes of one."""

    per_day: float = 0.0  # asked for, at random times; 0: there are always more than can be taken
    number: int = 0  # asked for at once and no more later: until all are done is simulated, or until `hours` are over
    median_seconds: float = 600.0  # of a log-normal distribution of lengths
    spread: float = 1.0  # its sigma, of the natural logarithm; 0: all have one length
    lengths_seconds: tuple[float, ...] = ()  # drawn from these instead; of a `number` in this order, over and over
    max_seconds: float = 36000.0  # longer ones are cut
    bits_per_second: float = 2e6  # of the source file
    interval_seconds: float = 0.2  # between samples: sampling.interval_seconds
    used_share: float = 1.0  # of the samples: the rest lies in shots that are rejected
    shot_seconds: float = 0.0  # length of a shot; 0: a video is one shot
    segment_samples: int = 32  # sampling.segment_samples
    base_intervals: tuple[int, ...] = (1, 2, 4)  # pairing.base_intervals
    kept_share: float = 1.0  # training pairs that are kept, of the samples that are used


@dataclass(frozen=True, slots=True)
class PodsPlan:
    """The pods of one stage."""

    pods: int = 1  # at the start; with max_pods the fewest
    max_pods: int = 0  # autoscaled up to so many; 0: always `pods`
    lag_per_pod: float = 2.0  # messages not done with, per pod, that the autoscaler aims at: k8s/components/keda
    cores: float = 2.0  # of a pod, all of them used; what a time is in thread seconds of is divided by them
    gpus: int = 0  # of a pod
    start_seconds: float = 60.0  # from asked for to ready: the node, the image, the weights
    restart_seconds: float = 15.0  # from killed to ready again
    mtbf_hours: float = 0.0  # mean time between failures of one pod; 0: none fails
    grace_seconds: float = 30.0  # service.grace_seconds: when scaled in, for the message in hand

    @property
    def most_pods(self) -> int:
        """The most pods there can be."""
        return max(self.pods, self.max_pods)

    def with_most(self, pods: int) -> Self:
        """The same with at most so many pods; autoscaled if it was."""
        if self.max_pods:
            return replace(self, pods=min(self.pods, pods), max_pods=pods)
        return replace(self, pods=pods)


@dataclass(frozen=True, slots=True)
class DownloaderPlan(PodsPlan):
    """Downloaders: a message is a video."""

    video_seconds: float | None = None  # of every video, whatever its length
    decode_seconds: float | None = None  # of a second of video: decoding, analysis, JPEGs, their upload
    bits_per_second: float = 50e6  # that one pod fetches at
    max_label_lag: int = 2000  # service.max_label_lag
    pressure_seconds: float = 15.0  # service.pressure_seconds


@dataclass(frozen=True, slots=True)
class MatcherPlan(PodsPlan):
    """Pods of one matcher: a message is a segment. On a GPU the robust fit runs beside the network, else they share."""

    lag_per_pod: float = 16.0  # segments
    message_seconds: float | None = None  # of every segment: taking it, its objects and its acknowledgement
    load_seconds: float | None = None  # thread seconds of a frame: read and decoded, before the network has it
    frame_seconds: float | None = None  # of a frame alone: on the GPU, else thread seconds
    pair_seconds: float | None = None  # of a pair: on the GPU, else thread seconds
    batch_seconds: float = 0.0  # of a batch of pairs, whatever its size
    batch_pairs: int = 8  # in a batch
    fit_seconds: float | None = None  # thread seconds of a pair
    spread: float = 0.0  # standard deviation over mean of a segment's time
    features_bytes: float = 0.0  # stored of a frame: sparse matchers


@dataclass(frozen=True, slots=True)
class PropagatorPlan(PodsPlan):
    """Propagators: a video's labels are one message each, and the last one is the work."""

    lag_per_pod: float = 64.0  # labels
    bell_seconds: float | None = None  # of every label's message: look whether all are there
    sample_seconds: float | None = None  # thread seconds of a sample that is used


@dataclass(frozen=True, slots=True)
class EvaluatorPlan(PodsPlan):
    """Evaluators: a message is a share of a benchmark."""

    checkpoints_per_day: float = 0.0  # that are scored, at random times
    pairs: int = 0  # of all benchmarks
    shard_pairs: int = 512  # evaluation.shard_pairs
    share_seconds: float = 0.0  # of every share
    pair_seconds: float | None = None  # matching and scoring


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """Where videos come from."""

    videos_per_hour: float = 0.0  # that it hands out before it refuses
    bytes_per_second: float = 0.0  # of the way there, for all pods together


@dataclass(frozen=True, slots=True)
class KafkaPlan:
    """The broker and the groups on it."""

    partitions: int = 24  # kafka.partitions, of every topic
    session_timeout_seconds: float = 45.0  # kafka.session_timeout_seconds
    rebalance_seconds: float = 1.0  # that a group takes nothing when a member comes or goes
    messages_per_second: float = 0.0  # published and taken, all topics


@dataclass(frozen=True, slots=True)
class StorePlan:
    """The object store, and the bytes of what lies in it."""

    read_bytes_per_second: float = 0.0  # by all pods together
    write_bytes_per_second: float = 0.0  # by all pods together
    requests_per_second: float = 0.0  # of all pods together
    capacity_bytes: float = 0.0  # that it holds; when it is full is told, and nothing else comes of it
    frame_bytes: float = 0.0  # a sampled frame as JPEG
    sample_bytes: float = 0.0  # of the manifest, which every segment's matcher reads
    label_bytes: float = 0.0  # of a base pair, one matcher
    pair_bytes: float = 0.0  # of a training pair, its two frames included


@dataclass(frozen=True, slots=True)
class AutoscalerPlan:
    """KEDA's lag trigger through a HorizontalPodAutoscaler, as in k8s/components/keda."""

    poll_seconds: float = 15.0  # between two looks at the lag
    cool_down_seconds: float = 300.0  # that fewer pods must have sufficed for; without any message, till none is left
    step_down_pods: int = 1  # taken away at a time
    step_down_seconds: float = 60.0  # between two such steps
    tolerance: float = 0.1  # of lag per pod, that changes nothing


@dataclass(frozen=True, slots=True)
class PricesPlan:
    """What is paid; all 0: nothing is said of cost."""

    currency: str = "USD"  # of the prices
    gpu_hour: float = 0.0  # of one GPU
    core_hour: float = 0.0  # of one core, its memory included
    gigabyte_month: float = 0.0  # of what is stored


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a simulation is told."""

    source: str = ""  # where the numbers come from, in a line
    hours: float = 24.0  # simulated, after those of the warm-up
    warm_up_hours: float = 2.0  # simulated first, and left out of all results
    seed: int = 1  # another one draws all anew that comes by chance
    record_seconds: float = 300.0  # between two looks at lags and pods, which mean and greatest are taken of
    videos: VideosPlan = field(default_factory=VideosPlan)
    origin: SourcePlan = field(default_factory=SourcePlan)
    kafka: KafkaPlan = field(default_factory=KafkaPlan)
    store: StorePlan = field(default_factory=StorePlan)
    downloader: DownloaderPlan = field(default_factory=DownloaderPlan)
    matchers: Mapping[str, MatcherPlan] = field(default_factory=dict)
    propagator: PropagatorPlan = field(default_factory=PropagatorPlan)
    evaluator: EvaluatorPlan = field(default_factory=EvaluatorPlan)
    autoscaler: AutoscalerPlan = field(default_factory=AutoscalerPlan)
    prices: PricesPlan = field(default_factory=PricesPlan)

    def check(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            ConfigError: a time is not known, a number is out of range, or there is no matcher.
        """
        if not self.matchers:
            raise ConfigError("a plan needs a section [matchers.NAME] with the times of that matcher")
        for path, value in self.leaves():
            if value is None and (self.has_evaluations or not path.startswith("evaluator.")):
                raise ConfigError(f"{path} is not known: give a measured time, or one you assume, by --set {path}=...")
            _check_number(path, value)
        if self.hours <= 0:
            raise ConfigError(f"hours = {self.hours}: expected a number above 0")
        videos = self.videos
        if videos.number and videos.per_day:
            raise ConfigError("videos.number and videos.per_day: set one of them")
        if min(videos.median_seconds, videos.interval_seconds, *videos.lengths_seconds, *videos.base_intervals) <= 0:
            raise ConfigError("videos: lengths and intervals must be above 0")

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every (path, value), matchers by their names."""
        for path, value in leaves(self):
            if path == "matchers":
                for name, matcher in self.matchers.items():
                    yield from leaves(matcher, f"matchers.{name}.")
            else:
                yield path, value

    def pods_plans(self) -> dict[str, PodsPlan]:
        """Those of every stage, by the name of its consumer group."""
        return {
            INGEST: self.downloader,
            **{label_group(name): matcher for name, matcher in self.matchers.items()},
            PROPAGATE: self.propagator,
            **({EVALUATE: self.evaluator} if self.has_evaluations else {}),
        }

    @property
    def has_evaluations(self) -> bool:
        """Whether there are any."""
        return bool(self.evaluator.checkpoints_per_day and self.evaluator.pairs)


def with_gpus(plan: Plan, gpus: int) -> Plan:
    """The plan with so many GPUs, shared out among its matchers on GPUs as those of the plan are.

    Raises:
        InvalidInput: it has no matcher on a GPU, or more of them than there are GPUs.
    """
    before = {name: matcher.most_pods * matcher.gpus for name, matcher in plan.matchers.items()}
    on_gpus = {name: held for name, held in before.items() if held}
    if not on_gpus:
        raise InvalidInput("the plan has no pods of a matcher on GPUs: give one some by matchers.NAME.gpus=1")
    changed = dict(plan.matchers)
    for name, held in on_gpus.items():
        matcher = plan.matchers[name]
        pods = round(gpus * held / sum(on_gpus.values())) // matcher.gpus
        if pods < 1:
            raise InvalidInput(f"{gpus} GPUs are too few for the plan's matchers: {', '.join(on_gpus)}")
        changed[name] = matcher.with_most(pods)
    return replace(plan, matchers=changed)


def label_group(matcher: str) -> str:
    """The group of a matcher."""
    return f"label-{matcher}"


def _check_number(path: str, value: Any) -> None:
    name = path.rpartition(".")[2]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, str) or number is None:
            continue
        least = 1 if name in _FROM_ONE else 0
        most = 1 if name.endswith("_share") else _MOST_PODS if name in ("pods", "max_pods") else sys.float_info.max
        if not least <= number <= most:
            allowed = f"a number from {least} to {most}" if most <= _MOST_PODS else f"a number of at least {least}"
            raise ConfigError(f"{path} = {value}: expected {allowed}")
