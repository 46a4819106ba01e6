"""Topic names and the one message type each carries."""

from typing import TypeVar

from google.protobuf.message import Message as ProtoMessage

from gim.errors import InvalidInput
from gim.wire.v1 import events_pb2

INGEST = "gim.ingest.v1"
SEGMENTS = "gim.segments.v1"
LABELS = "gim.labels.v1"
PAIRS = "gim.pairs.v1"
CHECKPOINTS = "gim.checkpoints.v1"
EVALUATION_SHARDS = "gim.evaluation-shards.v1"
EVALUATIONS = "gim.evaluations.v1"

Event = ProtoMessage
Kind = TypeVar("Kind", bound=ProtoMessage)

_TYPES: dict[str, type[ProtoMessage]] = {
    INGEST: events_pb2.VideoRequested,
    SEGMENTS: events_pb2.SegmentReady,
    LABELS: events_pb2.LabelsReady,
    PAIRS: events_pb2.PairsReady,
    CHECKPOINTS: events_pb2.CheckpointReady,
    EVALUATION_SHARDS: events_pb2.EvaluationShardPlanned,
    EVALUATIONS: events_pb2.EvaluationReady,
}
ALL = tuple(_TYPES)
DEAD_SUFFIX = ".dead"  # of the topic that takes what nobody could handle


def topic_of(event: Event) -> str:
    """The topic that carries events of this type."""
    for topic, kind in _TYPES.items():
        if isinstance(event, kind):
            return topic
    raise TypeError(f"no topic carries {type(event).__name__}")


def expect(event: Event, kind: type[Kind]) -> Kind:
    """The event as the type its topic carries.

    Raises:
        InvalidInput: it is of another type.
    """
    if not isinstance(event, kind):
        raise InvalidInput(f"expected a {kind.__name__}, got a {type(event).__name__}")
    return event


def parse_event(topic: str, value: bytes) -> Event:
    """The event in a message's bytes. On the ingest topic a bare UTF-8 id is accepted too.

    Raises:
        InvalidInput: the bytes are not a message of the topic's type.
    """
    kind = _TYPES[topic]
    event = kind()
    try:
        event.ParseFromString(value)
        parsed = bool(event.ListFields())
    except Exception as error:  # protobuf's DecodeError has no public home that is stable over versions
        if topic != INGEST:
            raise InvalidInput(f"{topic}: not a {kind.__name__} ({error})") from error
        parsed = False
    if parsed:
        return event
    if topic == INGEST:
        return _bare_id(value)
    raise InvalidInput(f"{topic}: empty {kind.__name__}")


def _bare_id(value: bytes) -> Event:
    try:
        text = value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{INGEST}: neither a VideoRequested nor a UTF-8 id") from error
    if not text or not text.isprintable():
        raise InvalidInput(f"{INGEST}: neither a VideoRequested nor a printable id")
    return events_pb2.VideoRequested(source=text)
