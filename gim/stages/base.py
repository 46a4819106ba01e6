"""What a stage is: `handle(event) -> events` over ports. The same object runs embedded, under Kafka and in tests."""

from collections.abc import Iterable
from typing import Protocol

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
