"""Dead letters: what nobody could handle, read, replayed and dropped. A letter is never removed from its topic.

That a letter is settled is a message of the same topic: no value, the letter's key, and a header that names the letter.
So whoever reads the topic from its beginning knows what still waits for a person, and what became of the rest.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from google.protobuf.json_format import MessageToDict

from gim.errors import InvalidInput
from gim.ports.bus import Bus, Message
from gim.runtime.outcome import DEAD_HEADERS
from gim.wire import topics
from gim.wire.topics import DEAD_SUFFIX, parse_event

SETTLES = "gim-settles"  # header: <partition>-<offset> of the letter
SETTLED_AS = "gim-settled-as"  # header: how
REPLAYED, DROPPED, PURGED = "replayed", "dropped", "purged"

_ID = re.compile(r"(?:(?P<topic>[a-z0-9.-]+):)?(?P<place>\d+-\d+)")
_TOGETHER = 100  # letters between two flushes: of those alone it is open, after a crash, whether they were replayed


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that could not be handled."""

    topic: str  # that it came from, and would go back to
    partition: int  # of the dead topic
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    settled: str = ""  # replayed, dropped, purged; empty: it waits
    event: Mapping[str, object] = field(default_factory=dict)  # what it says, where it can be read

    @property
    def place(self) -> str:
        """Where it lies in the dead topic."""
        return f"{self.partition}-{self.offset}"

    @property
    def letter_id(self) -> str:
        """Its name."""
        return f"{self.topic}:{self.place}"

    @property
    def short_id(self) -> str:
        """The same without what all topics share."""
        return f"{_short(self.topic)}:{self.place}"

    @property
    def subject(self) -> str:
        """The source or video it is about, or its key."""
        return str(self.event.get("source") or self.event.get("video_id") or self.key)

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return int(self.headers.get("attempts", "0"))

    @property
    def original_headers(self) -> dict[str, str]:
        """Those it came with."""
        return {name: value for name, value in self.headers.items() if name not in DEAD_HEADERS}

    def age_seconds(self, now: datetime.datetime) -> float | None:
        """Since it died; None for one that does not say."""
        try:
            return max(0.0, (now - datetime.datetime.fromisoformat(self.headers["died-at"])).total_seconds())
        except (KeyError, ValueError, TypeError):
            return None


def read_letters(bus: Bus, topic: str = "", *, error: str = "", with_settled: bool = False) -> list[Letter]:
    """The letters that wait for a person, by topic and place.

    Args:
        bus: where they lie.
        topic: only of this one, named in full or in short (`labels`).
        error: only of this class of error.
        with_settled: those that were settled too.

    Raises:
        InvalidInput: there is no such topic.
        Unavailable: the bus cannot be reached.
    """
    chosen = [_topic_named(topic)] if topic else list(topics.ALL)
    return [
        letter
        for name in chosen
        for letter in _letters_of(bus, name)
        if (with_settled or not letter.settled) and error in ("", letter.headers.get("error"))
    ]


def find_letters(bus: Bus, ids: Sequence[str]) -> list[Letter]:
    """The letters of these ids, each once, settled ones included.

    Args:
        bus: where they lie.
        ids: `<topic>:<partition>-<offset>`; the topic in short, or left out where only one topic has such a letter.

    Raises:
        InvalidInput: an id is malformed, or stands for no letter, or for several.
        Unavailable: the bus cannot be reached.
    """
    read: dict[str, dict[str, Letter]] = {}
    found: dict[str, Letter] = {}
    for text in ids:
        parts = _ID.fullmatch(text)
        if parts is None:
            raise InvalidInput(f"{text[:80]!r} is no id of a dead letter: as in labels:0-17, see `gim dead ls`")
        names = [_topic_named(parts["topic"])] if parts["topic"] else list(topics.ALL)
        for name in names:
            if name not in read:
                read[name] = {letter.place: letter for letter in _letters_of(bus, name)}
        letters = [read[name][parts["place"]] for name in names if parts["place"] in read[name]]
        waiting = [letter for letter in letters if not letter.settled]
        letters = waiting if len(waiting) == 1 else letters
        if len(letters) != 1:
            several = f"{len(letters)} letters: {', '.join(letter.short_id for letter in letters)}"
            raise InvalidInput(f"{text}: {several if letters else 'no such dead letter, see `gim dead ls`'}")
        found[letters[0].letter_id] = letters[0]
    return list(found.values())


def replay(bus: Bus, letters: Iterable[Letter]) -> int:
    """Put letters back to their topics, with the bytes and headers they came with; returns how many.

    Killed in between, it leaves letters that are replayed and not settled; replayed again they do no harm, since every
    stage finds what it has done.

    Raises:
        Unavailable: the bus cannot take them now; the same call goes on.
    """
    return _settle(bus, letters, REPLAYED)


def drop(bus: Bus, letters: Iterable[Letter], *, how: str = DROPPED) -> int:
    """Settle letters without another attempt; returns how many.

    Raises:
        Unavailable: the bus cannot take it now; the same call goes on.
    """
    return _settle(bus, letters, how)


def _settle(bus: Bus, letters: Iterable[Letter], how: str) -> int:
    done = 0
    waiting = (letter for letter in letters if not letter.settled)
    while batch := list(islice(waiting, _TOGETHER)):
        if how == REPLAYED:
            for letter in batch:
                bus.publish(letter.topic, letter.key, letter.value, letter.original_headers)
            bus.flush()  # before it is said: rather twice than not at all
        for letter in batch:
            bus.publish(letter.topic + DEAD_SUFFIX, letter.key, b"", {SETTLES: letter.place, SETTLED_AS: how})
        bus.flush()
        done += len(batch)
    return done


def _letters_of(bus: Bus, topic: str) -> Iterator[Letter]:
    messages = list(bus.read(topic + DEAD_SUFFIX))
    settled = {
        message.headers[SETTLES]: message.headers.get(SETTLED_AS, "settled")
        for message in messages
        if SETTLES in message.headers
    }
    found = [_letter(topic, message, settled) for message in messages if SETTLES not in message.headers]
    return iter(sorted(found, key=lambda letter: (letter.partition, letter.offset)))


def _letter(topic: str, message: Message, settled: Mapping[str, str]) -> Letter:
    return Letter(
        topic=topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=message.headers,
        settled=settled.get(f"{message.partition}-{message.offset}", ""),
        event=_decoded(topic, message.value),
    )


def _decoded(topic: str, value: bytes) -> dict[str, object]:
    try:
        return dict(MessageToDict(parse_event(topic, value), preserving_proto_field_name=True))
    except InvalidInput:
        return {}


def _topic_named(name: str) -> str:
    bare = name.removesuffix(DEAD_SUFFIX)
    for topic in topics.ALL:
        if bare in (topic, _short(topic)):
            return topic
    raise InvalidInput(f"no topic {name[:80]!r}: one of {', '.join(map(_short, topics.ALL))}")


def _short(topic: str) -> str:
    return topic.split(".")[1]  # gim.<plural>.v1
