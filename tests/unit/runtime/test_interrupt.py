"""Signals: a flag between messages, an end to the stage at work, and a second one that interrupts whatever runs."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from gim.runtime.interrupt import AbandonableStage, Interruption, StageAbandoned
from gim.wire.topics import Event
from gim.wire.v1.events_pb2 import VideoRequested


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


class Signalled:
    name, topic, group, max_seconds = "n", "t", "g", 1.0

    def __init__(self) -> None:
        self.finished = False

    def handle(self, _: Event) -> Iterator[tuple[str, Event]]:
        yield "k", VideoRequested(source="x")
        send(signal.SIGTERM)
        self.finished = True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_between_messages_sets_a_flag(number: signal.Signals) -> None:
    interruption = Interruption()
    before = signal.getsignal(number)
    with interruption.listening():
        assert not interruption.requested()
        send(number)
        assert interruption.requested()
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert signal.getsignal(number) is before


def test_signal_abandons_the_stage_at_work() -> None:
    interruption, stage = Interruption(), Signalled()
    with interruption.listening(), pytest.raises(StageAbandoned):
        AbandonableStage(stage, interruption).handle(VideoRequested(source="x"))
    assert interruption.requested()
    assert not stage.finished


def test_stage_is_not_begun_after_a_signal() -> None:
    interruption = Interruption()
    with interruption.listening():
        send(signal.SIGINT)
        with pytest.raises(StageAbandoned), interruption.abandonable():
            pytest.fail("begun")


def test_listening_outside_the_main_thread_does_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def listen() -> None:
        with Interruption().listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]
