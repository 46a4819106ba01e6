"""What is said of one message: that it was begun, and what became of it."""

import datetime
from dataclasses import dataclass, field
from typing import Literal

from gim.errors import GimError

# What `dead_headers` adds to those a message came with.
DEAD_HEADERS = frozenset(
    {"error", "message", "stage", "attempts", "source-topic", "source-partition", "source-offset", "died-at", "stack"}
)
Status = Literal["done", "dead", "purged", "abandoned"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that will not be tried again, and why."""

    subject: str  # video id; for a requested video its source text
    stage: str
    error: str  # class name
    message: str  # one line
    topic: str
    key: str
    offset: int
    attempts: int
    partition: int = 0  # of the topic
    stack: str = ""  # of a bug
    reason: str = ""  # why a video cannot be taken, a label to count by: `licence`, and those of `NotOffered`

    @property
    def exit_code(self) -> int:
        """Of the error's class; 1 for a bug."""
        kinds: list[type[GimError]] = [GimError]
        while kinds:
            kind = kinds.pop()
            if kind.__name__ == self.error:
                return kind.exit_code
            kinds += kind.__subclasses__()
        return 1


@dataclass(frozen=True, slots=True)
class Begun:
    """A message that is being worked on."""

    stage: str
    group: str
    topic: str
    key: str
    offset: int
    subject: str
    partition: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message."""

    begun: Begun
    status: Status
    seconds: float
    video_id: str = ""  # that the event or what followed from it is about, where known
    published: dict[str, int] = field(default_factory=dict)  # topic -> events
    dead: DeadLetter | None = None


@dataclass(slots=True)
class DrainReport:
    """What became of everything one process took."""

    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)  # stage -> status -> messages
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        counts = self.outcomes.setdefault(outcome.begun.stage, {})
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
        if outcome.dead is not None:
            self.dead_letters.append(outcome.dead)


def dead_headers(letter: DeadLetter) -> dict[str, str]:
    """The headers of a dead letter; values are text, the stack is that of a bug."""
    return {
        "error": letter.error,
        "message": letter.message,
        "stage": letter.stage,
        "attempts": str(letter.attempts),
        "source-topic": letter.topic,
        "source-partition": str(letter.partition),
        "source-offset": str(letter.offset),
        "died-at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **({"stack": letter.stack} if letter.stack else {}),
    }
