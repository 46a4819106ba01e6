"""A worker on Kafka, in a process that tests kill or stop: takes messages, leaves an effect of each, acknowledges.

An effect is a file named after the message's id, made exclusively as a Store's first writer wins; a line in the
worker's own journal says how often it was handed which message, and when it was done.
"""

import json
import sys
import time
from pathlib import Path

from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import Unavailable


def main() -> None:
    settings = json.loads(sys.argv[1])
    config = KafkaConfig(**{**settings["config"], "bootstrap_servers": tuple(settings["config"]["bootstrap_servers"])})
    effects, journal = Path(settings["effects"]), Path(settings["journal"])
    bus = KafkaBus(config, client_id=journal.stem)
    subscription = bus.subscribe(["t"], "g")
    while not (effects / "stop").exists():
        try:
            message = subscription.poll(0.5)
            if message is None:
                continue
            _write(journal, "taken", message.value.decode(), message.attempt)
            deadline = time.monotonic() + float(message.headers.get("seconds", settings.get("seconds", 0.0)))
            while time.monotonic() < deadline:
                subscription.keep_alive()
                time.sleep(min(0.2, max(deadline - time.monotonic(), 0.0)))
            _leave_effect(effects / message.value.decode(), journal)
            while True:
                try:
                    subscription.ack(message)
                    break
                except Unavailable as error:
                    _write(journal, "unavailable", str(error))
            _write(journal, "done", message.value.decode())
        except Unavailable as error:
            _write(journal, "unavailable", str(error))
    bus.close()
    _write(journal, "closed")


def _leave_effect(path: Path, journal: Path) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(journal.stem)
    except FileExistsError:
        _write(journal, "again", path.name)


def _write(journal: Path, *words: object) -> None:
    with journal.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps([time.time(), *words]) + "\n")


if __name__ == "__main__":
    main()
