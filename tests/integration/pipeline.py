"""A small real pipeline for the runtime's tests: it counts how often its work had an effect, in the store.

`split` turns a requested source "v<n>:<segments>[:<behaviour>]" into segments; `mark` writes one object per segment;
`join` writes one object per video when all of its segments are there. Behaviours: see `Mark.handle`.
"""

import hashlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from gim import keys
from gim.errors import InvalidInput, Unavailable
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.stages.base import Stage
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2


def video_id_of(source: str) -> str:
    return keys.file_video_id(hashlib.sha256(source.encode()).hexdigest())


def requests(*sources: str) -> list[tuple[str, Event]]:
    return [(source, events_pb2.VideoRequested(source=source)) for source in sources]


@dataclass
class Split:
    store: Store
    telemetry: Telemetry
    name: str = "split"
    topic: str = topics.INGEST
    group: str = "split"
    max_seconds: float = 60.0

    def handle(self, event: Event) -> Iterator[tuple[str, Event]]:
        _, number, *behaviour = event.source.split(":")
        video_id = video_id_of(event.source)
        with self.telemetry.step("split", event.source):
            if behaviour == ["bad"]:
                raise InvalidInput(f"{event.source}: not a video\nsecond line")
            self.store.put(f"plan/{video_id}/count", number.encode())
            self.store.put(f"plan/{video_id}/behaviour", "".join(behaviour).encode())
        self.telemetry.count("frames_sampled", int(number), video_id, kind="key")
        for segment in range(int(number)):
            yield (
                keys.segment_id(video_id, "s", segment),
                events_pb2.SegmentReady(video_id=video_id, sampling_id="s", segment=segment),
            )


@dataclass
class Mark:
    store: Store
    telemetry: Telemetry
    name: str = "mark"
    topic: str = topics.SEGMENTS
    group: str = "mark"
    max_seconds: float = 60.0

    def handle(self, event: Event) -> Iterator[tuple[str, Event]]:
        behaviour = self.store.get(f"plan/{event.video_id}/behaviour").decode()
        done = f"marks/{event.video_id}/{event.segment:05d}"
        with self.telemetry.step("mark", event.video_id):
            self._behave(behaviour, event)
            if not self.store.exists(done):
                time.sleep(0.001)
                self.store.put(done, event.video_id.encode() * 10)
        yield (
            event.video_id,
            events_pb2.LabelsReady(video_id=event.video_id, segment=event.segment, matcher_id="m", num_pairs=1),
        )

    def _behave(self, behaviour: str, event: Event) -> None:
        first = f"tried/{event.video_id}/{event.segment:05d}"
        if behaviour == "slowonce" and self.store.put(f"tried/{event.video_id}", b"1", if_absent=True):
            time.sleep(60)
        elif behaviour == "poison" and event.segment == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif behaviour == "dieonce" and self.store.put(first, b"1", if_absent=True):
            os.kill(os.getpid(), signal.SIGKILL)
        elif behaviour == "away" or (behaviour == "awayonce" and self.store.put(first, b"1", if_absent=True)):
            raise Unavailable("the matcher is away")
        elif behaviour == "large":
            self.store.put(f"large/{event.video_id}/{event.segment}", os.urandom(200_000))
        elif behaviour == "bug" and event.segment == 1:
            raise ZeroDivisionError("oh")


@dataclass
class Join:
    store: Store
    telemetry: Telemetry
    name: str = "join"
    topic: str = topics.LABELS
    group: str = "join"
    max_seconds: float = 60.0

    def handle(self, event: Event) -> Iterator[tuple[str, Event]]:
        count = int(self.store.get(f"plan/{event.video_id}/count"))
        marks = list(self.store.list(f"marks/{event.video_id}/"))
        if len(marks) == count:
            self.store.put(f"joined/{event.video_id}", "\n".join(marks).encode())
            yield event.video_id, events_pb2.PairsReady(video_id=event.video_id, num_pairs=count)


def build(store: Store, telemetry: Telemetry, executor: Executor, threads: int) -> Sequence[Stage]:
    return [Split(store, telemetry), Mark(store, telemetry), Join(store, telemetry)]
