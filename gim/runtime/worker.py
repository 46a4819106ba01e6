"""The loop that every stage runs in: take a message, do its work, publish what follows, acknowledge.

Here alone is decided what an error means: bad input is dead at once, what is unavailable is waited for, anything else
is a bug and gets a few attempts. The stages know nothing of it.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger
from tenacity import Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_fixed

from gim.errors import ConfigError, InvalidInput, Unavailable, UnknownMatcher
from gim.ports.bus import Bus, Message, Subscription
from gim.ports.telemetry import Telemetry
from gim.runtime.logs import no_log
from gim.runtime.outcome import Begun, DeadLetter, DrainReport, Outcome, dead_headers
from gim.runtime.retry import PATIENT, Patience, RetryPolicy
from gim.runtime.threads import beating
from gim.stages.base import Stage
from gim.wire.topics import Event, parse_event, topic_of

_HOPELESS = (InvalidInput, UnknownMatcher, ConfigError)
_KEEP_ALIVE_SECONDS = 5.0
_IDLE_SECONDS = 0.05
_STACK_FRAMES = 12  # the innermost: the outer ones are this file's


def drain(
    stages: Sequence[Stage],
    bus: Bus,
    *,
    telemetry: Telemetry,
    stop: Callable[[], bool] = lambda: False,
    policy: RetryPolicy = PATIENT,
    log: FilteringBoundLogger | None = None,
    observe: Callable[[Begun | Outcome], None] = lambda _: None,
) -> DrainReport:
    """Work until every stage's group has acknowledged everything.

    One video is worked off to its end before another is begun: that brings early results and keeps little waiting.
    Several processes may drain the same bus at once: each has a video of its own as long as there are any to begin, so
    that they all come to the end together, and helps others then. Each returns when all of the work is done.

    Args:
        stages: in the order of the pipeline.
        bus: where they listen and speak.
        telemetry: who is told of outcomes.
        stop: asked between messages and while waiting; True leaves the rest where it is.
        policy: what is tried again.
        log: where outcomes are written; nowhere by default.
        observe: told of every message when it is taken and when it is done with.

    Raises:
        Unavailable: the bus itself stayed away for longer than the policy allows.
    """
    report = DrainReport()
    patience = Patience(policy, stop)
    log = log if log is not None else no_log()
    video_id = ""  # at which this process is
    with ExitStack() as leaving:
        posts = [(stage, bus.subscribe([stage.topic], stage.group)) for stage in stages]
        for _, subscription in posts:
            leaving.callback(subscription.close)
        while not stop():
            found = _take(posts, video_id)
            if found is None:
                # In the pipeline's order: a stage publishes before it acknowledges, so work cannot slip past the count.
                if not any(subscription.lag() for _, subscription in posts):
                    break
                time.sleep(_IDLE_SECONDS)
                continue
            stage, subscription, message = found
            outcome = handle_message(
                stage, message, bus, subscription, patience=patience, telemetry=telemetry, log=log, observe=observe
            )
            report.add(outcome)
            if outcome.published:
                video_id = "" if stage is stages[-1] else outcome.video_id
    return report


def handle_message(
    stage: Stage,
    message: Message,
    bus: Bus,
    subscription: Subscription,
    *,
    patience: Patience,
    telemetry: Telemetry,
    log: FilteringBoundLogger,
    observe: Callable[[Begun | Outcome], None] = lambda _: None,
) -> Outcome:
    """Do the work of one message to its end: published and acknowledged, dead, or given up because of a stop.

    What the stage yields is published only when it has yielded all of it, so an attempt that fails leaves no trace.

    Raises:
        Unavailable: the bus itself stayed away for longer than the policy allows; the message comes back.
    """
    started = time.monotonic()
    event = _parse(message)
    begun = Begun(stage.name, stage.group, message.topic, message.key, message.offset, _subject(event, message))
    observe(begun)
    with _kept_alive(subscription):
        produced = _produce(stage, event, patience)
        if not isinstance(produced, _Failure):
            published = _publish(stage, produced, bus)
            patience.call("bus", bus.flush)
            patience.call("bus", lambda: subscription.ack(message))
            outcome = Outcome(begun, "done", time.monotonic() - started, _video_id(event, produced), published)
        elif isinstance(produced.error, Unavailable) and patience.stop():
            outcome = Outcome(begun, "abandoned", time.monotonic() - started, _video_id(event))
        else:
            letter = _letter(begun, produced)
            patience.call("bus", lambda: subscription.dead_letter(message, dead_headers(letter)))
            outcome = Outcome(begun, "dead", time.monotonic() - started, _video_id(event), dead=letter)
    telemetry.count("events", 1, outcome.video_id or begun.subject, stage=stage.name, outcome=outcome.status)
    _write_log(log, outcome)
    observe(outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    attempts: int


def _take(posts: Sequence[tuple[Stage, Subscription]], video_id: str) -> tuple[Stage, Subscription, Message] | None:
    """A message of the last stage that has one, of this video if possible; between two videos the first stage's."""
    latest_first = posts[::-1]
    for stage, subscription in latest_first if video_id else [posts[0], *latest_first[:-1]]:
        message = subscription.poll(0.0, near=video_id)
        if message is not None:
            return stage, subscription, message
    return None


def _parse(message: Message) -> Event | InvalidInput:
    try:
        return parse_event(message.topic, message.value)
    except InvalidInput as error:
        return error


def _produce(stage: Stage, event: Event | InvalidInput, patience: Patience) -> list[tuple[str, Event]] | _Failure:
    """What the stage yields, or why it yields nothing after all the attempts that the error deserves."""
    if isinstance(event, InvalidInput):
        return _Failure(event, 1)
    policy = patience.policy
    retrying = Retrying(
        retry=retry_if_exception(_is_bug),
        stop=stop_after_attempt(policy.bug_attempts),
        wait=wait_fixed(policy.bug_pause_seconds),
        reraise=True,
    )
    try:
        return retrying(lambda: patience.call("work", lambda: list(stage.handle(event))))
    except Exception as error:  # the boundary: whatever a stage raises ends here, with a name
        return _Failure(error, retrying.statistics["attempt_number"])


def _is_bug(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, (*_HOPELESS, Unavailable))


def _publish(stage: Stage, produced: Sequence[tuple[str, Event]], bus: Bus) -> dict[str, int]:
    published: dict[str, int] = {}
    for key, event in produced:
        topic = topic_of(event)
        headers = {"gim-type": event.DESCRIPTOR.full_name, "gim-producer": stage.name}
        bus.publish(topic, key, event.SerializeToString(deterministic=True), headers)
        published[topic] = published.get(topic, 0) + 1
    return published


def _letter(begun: Begun, failure: _Failure) -> DeadLetter:
    error = failure.error
    lines = str(error).splitlines()
    return DeadLetter(
        subject=begun.subject,
        stage=begun.stage,
        error=type(error).__name__,
        message=lines[0] if lines else type(error).__name__,
        topic=begun.topic,
        key=begun.key,
        offset=begun.offset,
        attempts=failure.attempts,
        stack="".join(traceback.format_exception(error, limit=-_STACK_FRAMES)) if _is_bug(error) else "",
        reason=getattr(error, "reason", "") if isinstance(error, _HOPELESS) else "",
    )


def _write_log(log: FilteringBoundLogger, outcome: Outcome) -> None:
    begun, dead = outcome.begun, outcome.dead
    where = {"stage": begun.stage, "subject": begun.subject, "topic": begun.topic, "offset": begun.offset}
    if dead is not None:
        log.warning(
            "message_dead", **where, error=dead.error, message=dead.message, attempts=dead.attempts, stack=dead.stack
        )
    else:
        log.info(f"message_{outcome.status}", **where, seconds=round(outcome.seconds, 3), published=outcome.published)


def _subject(event: Event | InvalidInput, message: Message) -> str:
    return getattr(event, "source", "") or getattr(event, "video_id", "") or message.key


def _video_id(event: Event | InvalidInput, produced: Sequence[tuple[str, Event]] = ()) -> str:
    about = (getattr(item, "video_id", "") for item in (event, *(following for _, following in produced)))
    return next((video_id for video_id in about if video_id), "")


@contextmanager
def _kept_alive(subscription: Subscription) -> Iterator[None]:
    """Tell the bus every few seconds that the work goes on, from a thread, for as long as the block runs."""

    def keep_alive() -> None:
        with suppress(Unavailable):  # the next beat tries again; a lost lease only repeats work
            subscription.keep_alive()

    with beating(keep_alive, _KEEP_ALIVE_SECONDS, "keep-alive"):
        yield
