"""What waits on a bus for the stages, or is in their hands: read off the topics, without a part in any group."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from gim import keys
from gim.errors import InvalidInput
from gim.ports.bus import Bus, Message
from gim.video.sources.youtube_urls import YouTubeVideo, read_youtube
from gim.wire.topics import parse_event


@dataclass(frozen=True, slots=True)
class Queue:
    """The messages that some group has not acknowledged."""

    lag: dict[str, int]  # group -> messages
    subjects: frozenset[str]  # ids of videos and sources that they may be about; rather one too many

    @property
    def num_messages(self) -> int:
        """Of all groups together."""
        return sum(self.lag.values())

    def may_hold(self, *names: str) -> bool:
        """Whether a message may be about a video, given by its id and its source."""
        return not self.subjects.isdisjoint(names)

    def __str__(self) -> str:
        return ", ".join(f"{group} {lag}" for group, lag in self.lag.items() if lag)


def read_queue(bus: Bus, groups: Iterable[tuple[str, str]]) -> Queue:
    """What the groups have still to do.

    Messages are acknowledged in order, so those of a partition that are not are its last ones; as the lag is known of
    a whole topic only, as many are taken of each of its partitions.

    Args:
        bus: where they listen.
        groups: (topic, group).

    Raises:
        Unavailable: the bus cannot be reached.
    """
    lag: dict[str, int] = {}
    subjects: set[str] = set()
    for topic, group in groups:
        before = bus.lag(topic, group)
        waiting = _last(bus.read(topic), before) if before else []
        lag[group] = before
        subjects.update(name for message in waiting for name in subjects_of(message))
    return Queue(lag, frozenset(subjects))


def subjects_of(message: Message) -> set[str]:
    """The id of the video, or the source, that a message is about."""
    try:
        event = parse_event(message.topic, message.value)
    except InvalidInput:
        return {message.key} - {""}
    source = getattr(event, "source", "")
    return {message.key, source, youtube_video_id(source), getattr(event, "video_id", "")} - {""}


def youtube_video_id(source: str) -> str:
    """The id of a single video on YouTube that a source names; empty for anything else."""
    try:
        found = read_youtube(source, 1) if source else None
    except InvalidInput:
        return ""
    return keys.youtube_video_id(found.youtube_id) if isinstance(found, YouTubeVideo) else ""


def _last(messages: Iterable[Message], count: int) -> list[Message]:
    """The last `count` messages of every partition."""
    kept: dict[int, deque[Message]] = {}
    for message in messages:
        kept.setdefault(message.partition, deque(maxlen=count)).append(message)
    return [message for waiting in kept.values() for message in waiting]
