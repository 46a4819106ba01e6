"""The loops that stages run in: `drain` works a bus off to its end, `serve` works until it is told to stop."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from structlog.typing import FilteringBoundLogger

from gim.ports.bus import Bus, Message, Subscription
from gim.ports.telemetry import Telemetry
from gim.runtime.handling import Handler
from gim.runtime.logs import no_log
from gim.runtime.outcome import Begun, DrainReport, Outcome
from gim.runtime.retry import PATIENT, Patience, RetryPolicy
from gim.stages.base import Stage

_IDLE_SECONDS = 0.05
_POLL_SECONDS = 0.5  # of a service, how long a stop may go unnoticed

_Posts = Sequence[tuple[Stage, Subscription]]


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
    handler = Handler(bus, Patience(policy, stop), telemetry, log=log or no_log(), observe=observe)
    video_id = ""  # at which this process is
    with _subscribed(stages, bus) as posts:
        while not stop():
            found = _take(posts, video_id)
            if found is None:
                # In the pipeline's order: a stage publishes before it acknowledges, so work cannot slip past the count.
                if not any(subscription.lag() for _, subscription in posts):
                    break
                time.sleep(_IDLE_SECONDS)
                continue
            stage, subscription, message = found
            outcome = handler.handle(stage, subscription, message, beside=_beside(posts, subscription))
            report.add(outcome)
            if outcome.published:
                video_id = "" if stage is stages[-1] else outcome.video_id
    return report


def serve(
    stages: Sequence[Stage], handler: Handler, *, may_begin: Callable[[], bool] = lambda: True, beat: Callable[[], None]
) -> None:
    """Work on whatever comes, until the handler's patience is told to stop.

    Args:
        stages: each with a group of its own; they take turns.
        handler: of their messages, with the bus.
        may_begin: asked before a message is taken; False leaves the queue alone for now.
        beat: called between messages, at least once a second: this loop lives.

    Raises:
        Unavailable: the bus stayed away for longer than the policy allows.
        ConfigError: the bus refuses this service.
    """
    patience = handler.patience
    with _subscribed(stages, handler.bus) as posts:
        while not patience.stop():
            for stage, subscription in posts:
                beat()
                if not may_begin():
                    subscription.keep_alive()
                    time.sleep(_POLL_SECONDS)
                    continue
                message = patience.call("bus", partial(subscription.poll, _POLL_SECONDS / len(posts)))
                if message is not None:
                    handler.handle(stage, subscription, message, beside=_beside(posts, subscription))
                if patience.stop():
                    break


@contextmanager
def _subscribed(stages: Sequence[Stage], bus: Bus) -> Iterator[_Posts]:
    with ExitStack() as leaving:
        posts = [(stage, bus.subscribe([stage.topic], stage.group)) for stage in stages]
        for _, subscription in posts:
            leaving.callback(subscription.close)
        yield posts


def _beside(posts: _Posts, subscription: Subscription) -> list[Subscription]:
    """The other posts' subscriptions: silent while this one's message is worked on, they would leave their groups."""
    return [other for _, other in posts if other is not subscription]


def _take(posts: _Posts, video_id: str) -> tuple[Stage, Subscription, Message] | None:
    """A message of the last stage that has one, of this video if possible; between two videos the first stage's."""
    latest_first = posts[::-1]
    for stage, subscription in latest_first if video_id else [posts[0], *latest_first[:-1]]:
        message = subscription.poll(0.0, near=video_id)
        if message is not None:
            return stage, subscription, message
    return None
