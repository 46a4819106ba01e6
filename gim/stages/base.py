"""What a stage is: `handle(event) -> events` over ports. The same object runs embedded, under Kafka and in tests."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from gim.wire.topics import Event


class Stage(Protocol):
    """One step of the pipeline; `handle` is idempotent: outputs are found by key, the manifest is written last."""

    name: str  # for metrics and logs
    topic: str  # what it consumes
    group: str  # consumer group; a labelling group carries its matcher's name
    max_seconds: float  # longest time one event may take

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        """Do the work of one event and yield (bus key, event) to publish.

        Raises:
            InvalidInput: the event can never succeed.
            Unavailable: try again later.
        """


@runtime_checkable
class GivesUp(Protocol):
    """A stage that others wait for, and that tells them when one of its events is given up."""

    def give_up(self, event: Event, error: str, message: str) -> Iterable[tuple[str, Event]]:
        """Store that nothing will come of an event, and yield what lets the others go on.

        Args:
            event: that `handle` failed on for good.
            error: class name of the error.
            message: of the error, one line.
        """
