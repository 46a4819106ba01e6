"""A cluster as a whole: makes the topics and the bucket it needs, and says how it stands."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from gim import keys
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import ConfigError, GimError
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.runtime.dead import read_letters
from gim.runtime.opening import is_remote, open_bus, open_store, patiently
from gim.settings import Settings
from gim.stages.evaluate_shards import EvaluateShardStage, PlanEvaluationStage
from gim.stages.ingest import IngestStage
from gim.stages.label import group_of
from gim.stages.propagate import PropagateStage
from gim.wire import topics
from gim.wire.topics import DEAD_SUFFIX

Result = TypeVar("Result")

_LOOK_SECONDS = 5.0  # a person waits: shorter than a service's patience


@dataclass(frozen=True, slots=True)
class ClusterMade:
    """What `init_cluster` found and did."""

    store: str | None  # None: it was left alone
    store_made: bool
    topics_made: list[str]  # without the prefix
    topics_found: list[str]


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """One topic and who works on it."""

    topic: str
    partitions: int  # 0: the topic is missing
    lag: dict[str, int] = field(default_factory=dict)  # group -> messages it has not acknowledged
    dead: int = 0  # letters that wait for a person


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What a store holds."""

    videos: int
    results: int  # of videos and recipes
    without_result: int  # videos: in work, stopped or failed
    purged: int  # videos that are kept out


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """How a cluster stands; what could not be asked is None, with the reason among the problems."""

    store: StoreStatus | None
    topics: list[TopicStatus] | None
    problems: list[str]
    exit_code: int = 0  # the worst problem's


def init_cluster(settings: Settings, *, with_store: bool = True, wait_seconds: float = 0.0) -> ClusterMade:
    """Make what is missing of the bucket (or folder) and the topics; what is there is left as it is.

    Args:
        settings: the servers, and how many partitions and replicas a new topic gets.
        with_store: False makes topics only.
        wait_seconds: a server that is away is waited for so long.

    Raises:
        ConfigError: the settings name no Kafka, or these credentials may not make what is missing.
        Unavailable: a server cannot be reached.
    """
    from gim.adapters.kafka.topics import ensure_topics  # noqa: PLC0415 - on use

    made = patiently(partial(ensure_topics, settings.kafka, topics.ALL), wait_seconds)
    found = [name for name in every_topic() if name not in made]
    if not with_store:
        return ClusterMade(None, False, made, found)
    has_store = patiently(partial(has_place, settings), wait_seconds)
    open_store(settings, create=True).close()
    return ClusterMade(settings.store, not has_store, made, found)


def has_place(settings: Settings) -> bool:
    """Whether the bucket or folder of the store is there.

    Raises:
        ConfigError: it is something else, or may not be used.
        Unavailable: the server cannot be reached.
    """
    try:
        with closing(open_store(_hasty(settings))) as store:
            next(iter(store.list("audit/")), None)
    except ConfigError as error:
        if _is_absent(settings, error):
            return False
        raise
    return True


def every_topic() -> list[str]:
    """All topics and those of their dead letters."""
    return [name for topic in topics.ALL for name in (topic, topic + DEAD_SUFFIX)]


def topics_to_make(settings: Settings) -> list[str]:
    """Topics that `init_cluster` would make.

    Raises:
        ConfigError, Unavailable: as for `init_cluster`.
    """
    return [name for name, count in _partitions(_hasty(settings).kafka).items() if not count]


def groups_of(settings: Settings) -> list[tuple[str, str]]:
    """(topic, group) of every stage that works on a video."""
    labels = [(topics.SEGMENTS, group_of(name)) for name in settings.matchers]
    return [(IngestStage.topic, IngestStage.group), *labels, (PropagateStage.topic, PropagateStage.group)]


def cluster_status(settings: Settings) -> ClusterStatus:
    """How the cluster stands. What cannot be reached is a problem of the answer, not an error."""
    problems: list[GimError] = []

    def tried(look: Callable[[Settings], Result]) -> Result | None:
        try:
            return look(_hasty(settings))
        except GimError as error:
            problems.append(error)
            return None

    found = ClusterStatus(tried(_store_status), tried(_topics_status), [str(error) for error in problems])
    missing = [status.topic for status in found.topics or [] if not status.partitions]
    lacks = [f"topic {topic} is missing: make it with `gim cluster init`" for topic in missing]
    codes = [error.exit_code for error in problems] + [ConfigError.exit_code] * bool(missing)
    return replace(found, problems=[*found.problems, *lacks], exit_code=max(codes, default=0))


def _store_status(settings: Settings) -> StoreStatus:
    with closing(open_store(settings)) as store:
        videos = {key.split("/")[1] for key in store.list("videos/") if key.endswith("/meta.json")}
        results = [key.split("/")[1] for key in store.list("pairs/") if key.endswith("/manifest.json")]
        return StoreStatus(len(videos), len(results), len(videos.difference(results)), _count_purged(store))


def _count_purged(store: Store) -> int:
    return sum(1 for _ in store.list(keys.purge_marks_prefix()))


def _topics_status(settings: Settings) -> list[TopicStatus]:
    partitions = _partitions(settings.kafka)
    with closing(open_bus(settings, client_id="gim-status")) as bus:
        return [_topic_status(bus, topic, partitions, settings) for topic in topics.ALL]


def _topic_status(bus: Bus, topic: str, partitions: dict[str, int], settings: Settings) -> TopicStatus:
    if not partitions[topic]:
        return TopicStatus(topic, 0)
    evaluators = [(stage.topic, stage.group) for stage in (PlanEvaluationStage, EvaluateShardStage)]
    groups = [*groups_of(settings), *evaluators]
    lag = {group: bus.lag(topic, group) for of, group in groups if of == topic}
    dead = len(read_letters(bus, topic)) if partitions[topic + DEAD_SUFFIX] else 0
    return TopicStatus(topic, partitions[topic], lag, dead)


def _partitions(config: KafkaConfig) -> dict[str, int]:
    """Partitions of every topic; 0 for one that is missing."""
    from gim.adapters.kafka.client import Control  # noqa: PLC0415 - on use
    from gim.adapters.kafka.topics import missing_topics, num_partitions  # noqa: PLC0415

    control = Control(config, "gim-status")
    try:
        missing = set(missing_topics(control, config, every_topic()))
        return {name: 0 if name in missing else num_partitions(control, config, name) for name in every_topic()}
    finally:
        control.close()


def _is_absent(settings: Settings, error: ConfigError) -> bool:
    """Whether a store cannot be opened because there is none yet."""
    if is_remote(settings):
        return getattr(error.__cause__, "code", "") == "NoSuchBucket"
    return "no store here" in str(error)


def _hasty(settings: Settings) -> Settings:
    kafka, s3 = settings.kafka, settings.s3
    return replace(
        settings,
        kafka=replace(kafka, request_timeout_seconds=min(kafka.request_timeout_seconds, _LOOK_SECONDS)),
        s3=replace(s3, max_attempts=min(s3.max_attempts, 2)),
    )
