"""One message from delivery to its end: its stage's work, what follows from it published, and then acknowledged.

Here alone is decided what an error means: bad input is dead at once, what is unavailable is waited for, anything else
is a bug and gets a few attempts. The stages know nothing of it.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from structlog.typing import FilteringBoundLogger
from tenacity import Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_fixed

from gim.errors import ConfigError, InvalidInput, Unavailable, UnknownMatcher
from gim.ports.bus import Bus, Message, Subscription
from gim.ports.telemetry import Telemetry
from gim.ports.tracing import NullTracing, Span, Tracing
from gim.runtime.logs import no_log
from gim.runtime.outcome import Begun, DeadLetter, Outcome, dead_headers
from gim.runtime.retry import Patience
from gim.runtime.threads import beating
from gim.stages.base import GivesUp, Stage
from gim.stages.purged import PurgeGuard, VideoPurged
from gim.wire.topics import Event, parse_event, topic_of

_HOPELESS = (InvalidInput, UnknownMatcher, ConfigError, VideoPurged)
_KEEP_ALIVE_SECONDS = 5.0
_STACK_FRAMES = 12  # the innermost: the outer ones are this file's


@dataclass(frozen=True, slots=True)
class Handler:
    """Handles messages of any stage, one after the other, on one bus."""

    bus: Bus
    patience: Patience
    telemetry: Telemetry
    tracing: Tracing = field(default_factory=NullTracing)
    log: FilteringBoundLogger = field(default_factory=no_log)
    observe: Callable[[Begun | Outcome], None] = lambda _: None  # told of every message when taken and when done with
    attempting: Callable[[Stage], None] = lambda _: None  # told of every attempt at one
    purges: PurgeGuard | None = None  # where a video may be purged while messages about it are still to come

    def handle(
        self, stage: Stage, subscription: Subscription, message: Message, *, beside: Sequence[Subscription] = ()
    ) -> Outcome:
        """Do the work of one message to its end: published and acknowledged, dead, or given up because of a stop.

        What the stage yields is published only when it has yielded all of it, so an attempt that fails leaves no trace.

        Args:
            stage: whose message it is.
            subscription: that handed it out.
            message: in hand.
            beside: further subscriptions of the same worker, which it cannot poll meanwhile: they are kept alive.

        Raises:
            Unavailable: the bus itself stayed away for longer than the policy allows; the message comes back.
        """
        started = time.monotonic()
        event = _parse(message)
        begun = Begun(
            stage.name,
            stage.group,
            message.topic,
            message.key,
            message.offset,
            _subject(event, message),
            message.partition,
        )
        self.observe(begun)
        with _kept_alive([subscription, *beside], stage.max_seconds) as begin_attempt:
            try:
                with self.tracing.span(stage.name, message.headers, **_attributes(stage, message, event)) as span:
                    produced = self._produce(stage, event, message, begin_attempt)
                    published = self._publish(stage, produced, span)
                    self.patience.call("bus", partial(subscription.ack, message))
                outcome = Outcome(begun, "done", time.monotonic() - started, _video_id(event, produced), published)
            except _Failed as failed:
                if isinstance(failed.error, VideoPurged):
                    self.patience.call("bus", partial(subscription.ack, message))
                    outcome = Outcome(begun, "purged", time.monotonic() - started, _video_id(event))
                elif isinstance(failed.error, Unavailable) and self.patience.stop():
                    outcome = Outcome(begun, "abandoned", time.monotonic() - started, _video_id(event))
                else:
                    letter = _letter(begun, failed)
                    self._bury(stage, subscription, message, event, letter, span)
                    outcome = Outcome(begun, "dead", time.monotonic() - started, _video_id(event), dead=letter)
        self._tell(outcome, event, span)
        return outcome

    def _produce(
        self, stage: Stage, event: Event | InvalidInput, message: Message, begin_attempt: Callable[[], None]
    ) -> list[tuple[str, Event]]:
        """What the stage yields.

        Raises:
            _Failed: it yields nothing after all the attempts that the error deserves.
        """
        if isinstance(event, InvalidInput):
            raise _Failed(event, 1) from event
        policy = self.patience.policy
        if 0 < policy.max_deliveries < message.attempt:
            raise _Failed(WorkerDied(message.attempt - 1), message.attempt - 1)

        def attempt() -> list[tuple[str, Event]]:
            begin_attempt()
            self.attempting(stage)
            if self.purges is None:
                return list(stage.handle(event))
            return self.purges.guard(stage.name, event, lambda: list(stage.handle(event)))

        retrying = Retrying(
            retry=retry_if_exception(_is_bug),
            stop=stop_after_attempt(policy.bug_attempts),
            wait=wait_fixed(policy.bug_pause_seconds),
            reraise=True,
        )
        try:
            return retrying(lambda: self.patience.call("work", attempt))
        except Exception as error:  # the boundary: whatever a stage raises ends here, with a name
            raise _Failed(error, retrying.statistics["attempt_number"]) from error

    def _publish(self, stage: Stage, produced: Sequence[tuple[str, Event]], span: Span) -> dict[str, int]:
        """Publish durably; returns how many events on which topic."""
        published: dict[str, int] = {}
        for key, event in produced:
            topic = topic_of(event)
            headers = {"gim-type": event.DESCRIPTOR.full_name, "gim-producer": stage.name, **span.headers}
            data = event.SerializeToString(deterministic=True)
            self.patience.call("bus", partial(self.bus.publish, topic, key, data, headers))
            published[topic] = published.get(topic, 0) + 1
        self.patience.call("bus", self.bus.flush)
        return published

    def _bury(
        self,
        stage: Stage,
        subscription: Subscription,
        message: Message,
        event: Event | InvalidInput,
        letter: DeadLetter,
        span: Span,
    ) -> None:
        """Dead-letter the message; before that, whoever waits for what it would have brought is told not to."""
        if isinstance(stage, GivesUp) and not isinstance(event, InvalidInput) and letter.error != Unavailable.__name__:
            told = self.patience.call("work", lambda: list(stage.give_up(event, letter.error, letter.message)))
            self._publish(stage, told, span)
        self.patience.call("bus", partial(subscription.dead_letter, message, dead_headers(letter)))

    def _tell(self, outcome: Outcome, event: Event | InvalidInput, span: Span) -> None:
        begun, dead = outcome.begun, outcome.dead
        video_id = outcome.video_id or begun.subject
        self.telemetry.count("events", 1, video_id, stage=begun.stage, outcome=outcome.status)
        where: dict[str, str | int] = {
            "stage": begun.stage,
            "subject": begun.subject,
            "topic": begun.topic,
            "partition": begun.partition,
            "offset": begun.offset,
        }
        where |= {"video_id": outcome.video_id} if outcome.video_id else {}
        where |= _segment(event)
        where |= {"trace_id": span.trace_id} if span.trace_id else {}
        if dead is not None:
            self.telemetry.count("dead_letters", 1, video_id, stage=begun.stage, error=dead.error)
            self.log.warning(
                "message_dead",
                **where,
                error=dead.error,
                message=dead.message,
                attempts=dead.attempts,
                stack=dead.stack,
            )
        else:
            seconds = round(outcome.seconds, 3)
            self.log.info(f"message_{outcome.status}", **where, seconds=seconds, published=outcome.published)
        self.observe(outcome)


class WorkerDied(InvalidInput):
    """A message was handed out again and again, and no worker lived to finish it."""

    def __init__(self, deliveries: int) -> None:
        super().__init__(f"{deliveries} workers took it and none lived to finish it: does it exhaust their memory?")


class _Failed(Exception):
    """Nothing came of a message."""

    def __init__(self, error: Exception, attempts: int) -> None:
        super().__init__(error, attempts)
        self.error = error
        self.attempts = attempts


def _parse(message: Message) -> Event | InvalidInput:
    try:
        return parse_event(message.topic, message.value)
    except InvalidInput as error:
        return error


def _is_bug(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, (*_HOPELESS, Unavailable, VideoPurged))


def _letter(begun: Begun, failed: _Failed) -> DeadLetter:
    error = failed.error
    lines = str(error).splitlines()
    return DeadLetter(
        subject=begun.subject,
        stage=begun.stage,
        error=type(error).__name__,
        message=lines[0] if lines else type(error).__name__,
        topic=begun.topic,
        key=begun.key,
        offset=begun.offset,
        partition=begun.partition,
        attempts=failed.attempts,
        stack="".join(traceback.format_exception(error, limit=-_STACK_FRAMES)) if _is_bug(error) else "",
        reason=getattr(error, "reason", "") if isinstance(error, _HOPELESS) else "",
    )


def _attributes(stage: Stage, message: Message, event: Event | InvalidInput) -> dict[str, str | int]:
    """What a trace is found by."""
    return {
        "topic": message.topic,
        "key": message.key,
        "group": stage.group,
        "partition": message.partition,
        "offset": message.offset,
        "video_id": _video_id(event),
        **_segment(event),
    }


def _segment(event: Event | InvalidInput) -> dict[str, str | int]:
    """The segment that an event is about, if any."""
    segment = getattr(event, "segment", None)
    return {} if segment is None else {"segment": int(segment)}


def _subject(event: Event | InvalidInput, message: Message) -> str:
    return getattr(event, "source", "") or getattr(event, "video_id", "") or message.key


def _video_id(event: Event | InvalidInput, produced: Sequence[tuple[str, Event]] = ()) -> str:
    about = (getattr(item, "video_id", "") for item in (event, *(following for _, following in produced)))
    return next((video_id for video_id in about if video_id), "")


@contextmanager
def _kept_alive(subscriptions: Sequence[Subscription], max_seconds: float) -> Iterator[Callable[[], None]]:
    """Tell the bus every few seconds that the work goes on, from a thread, for as long as the block runs.

    An attempt that takes longer than it may is taken for stuck: it is no longer spoken for, and goes to another worker.
    Yields what to call when an attempt begins.
    """
    began = [time.monotonic()]

    def begin() -> None:
        began[0] = time.monotonic()

    def keep_alive() -> None:
        if time.monotonic() - began[0] < max_seconds:
            for subscription in subscriptions:
                with suppress(Unavailable):  # the next beat tries again; a lost lease only repeats work
                    subscription.keep_alive()

    with beating(keep_alive, _KEEP_ALIVE_SECONDS, "keep-alive"):
        yield begin
