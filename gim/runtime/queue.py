"""What waits on a bus for the stages, or is in their hands: read off the topics, without a part in any group."""

from collections.abc import Iterable
from dataclasses import dataclass

from gim import keys
from gim.errors import InvalidInput
from gim.ports.bus import Bus, Message
from gim.video.sources.youtube_urls import YouTubeVideo, read_youtube
from gim.wire.topics import INGEST, Event, parse_event
from gim.wire.v1.events_pb2 import LabelsReady, SegmentReady


@dataclass(frozen=True, slots=True)
class Queue:
    """The messages that some group has not acknowledged."""

    lag: dict[str, int]  # group -> messages
    subjects: frozenset[str]  # ids of videos and sources that any of them is about
    requested: frozenset[str]  # those whose whole chain begins anew
    segments: frozenset[tuple[str, str, int]]  # (video, sampling, segment) that labels will come for
    labelled: frozenset[tuple[str, str]]  # (video, sampling) whose labels will be looked through

    @property
    def num_messages(self) -> int:
        """Of all groups together."""
        return sum(self.lag.values())

    def may_hold(self, *names: str) -> bool:
        """Whether a message may be about a video, given by its id and its source."""
        return not self.subjects.isdisjoint(names)

    def covers(self, event: Event, *names: str) -> bool:
        """Whether what waits will come to all that this event about a video would.

        That some message about it waits is not enough: a straggler's makes no other segment's labels.

        Args:
            event: to publish, or not.
            names: the video's id and its source.
        """
        if not self.requested.isdisjoint(names):
            return True
        if isinstance(event, SegmentReady):
            return (event.video_id, event.sampling_id, event.segment) in self.segments
        if isinstance(event, LabelsReady):
            return (event.video_id, event.sampling_id) in self.labelled
        return False

    def __str__(self) -> str:
        return ", ".join(f"{group} {lag}" for group, lag in self.lag.items() if lag)


def read_queue(bus: Bus, groups: Iterable[tuple[str, str]]) -> Queue:
    """What the groups have still to do.

    Args:
        bus: where they listen.
        groups: (topic, group), in the order in which work goes through them: what one has handed on meanwhile is seen
            in the next one.

    Raises:
        Unavailable: the bus cannot be reached.
    """
    lag: dict[str, int] = {}
    subjects: set[str] = set()
    requested: set[str] = set()
    segments: set[tuple[str, str, int]] = set()
    labelled: set[tuple[str, str]] = set()
    for topic, group in groups:
        lag[group] = 0
        for message in bus.read(topic, group):
            lag[group] += 1
            event = _event(message)
            names = _names_in(message.key, event)
            subjects |= names
            if topic == INGEST:
                requested |= names
                continue
            match event:
                case SegmentReady() as ready:
                    segments.add((ready.video_id, ready.sampling_id, ready.segment))
                    labelled.add((ready.video_id, ready.sampling_id))  # once its labels are there
                case LabelsReady() as ready:
                    labelled.add((ready.video_id, ready.sampling_id))
    return Queue(lag, frozenset(subjects), frozenset(requested), frozenset(segments), frozenset(labelled))


def _names_in(key: str, event: Event | None) -> set[str]:
    """The id of the video, or the source, that a message is about."""
    source = getattr(event, "source", "")
    return {key, source, youtube_video_id(source), getattr(event, "video_id", "")} - {""}


def _event(message: Message) -> Event | None:
    """What cannot be read is nothing: it will be a dead letter."""
    try:
        return parse_event(message.topic, message.value)
    except InvalidInput:
        return None


def youtube_video_id(source: str) -> str:
    """The id of a single video on YouTube that a source names; empty for anything else."""
    try:
        found = read_youtube(source, 1) if source else None
    except InvalidInput:
        return ""
    return keys.youtube_video_id(found.youtube_id) if isinstance(found, YouTubeVideo) else ""
