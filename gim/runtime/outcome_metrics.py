"""What became of a message, in metrics: its seconds, what it brought onto the bus, and a video that ends in failure."""

from gim.ports.telemetry import Telemetry
from gim.runtime.outcome import Outcome

# A video whose message of one of these stages is dead is lost; without one matcher's labels it goes on.
_STAGES_OF_VIDEOS = ("ingest", "propagate")


def tell_outcome(telemetry: Telemetry, outcome: Outcome) -> None:
    """Tell what became of a message, besides that it was handled."""
    begun, dead = outcome.begun, outcome.dead
    about = outcome.video_id or begun.subject
    telemetry.observe("stage_seconds", outcome.seconds, about, stage=begun.stage, outcome=outcome.status)
    telemetry.count("bus_messages", 1, about, topic=begun.topic, direction="in")
    for topic, number in outcome.published.items():
        telemetry.count("bus_messages", number, about, topic=topic, direction="out")
    if dead is not None and begun.stage in _STAGES_OF_VIDEOS:
        telemetry.count("videos", 1, about, outcome="failed", reason=dead.reason or dead.error)
