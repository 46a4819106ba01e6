"""Runs events through all stages, and rings once more for videos that not every matcher could label."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gim.runtime.embedded import RunReport, run_embedded
from gim.runtime.journal import RunSnapshot
from gim.runtime.wiring import build_stages
from gim.settings import Settings
from gim.wire.topics import Event

Events = Sequence[tuple[str, Event]]


def work_off(
    events: Events,
    settings: Settings,
    last_bells: Callable[[RunReport], Events],
    on_snapshot: Callable[[RunSnapshot], None] | None = None,
) -> RunReport:
    """Work off events, then the last bells of videos that some matchers have labelled and others have failed on.

    Args:
        events: (bus key, event), as for `run_embedded`.
        settings: checked.
        last_bells: told how the first part ended; asked only where there are several matchers.
        on_snapshot: as for `run_embedded`.
    """
    jobs = settings.run.jobs
    start = partial(
        run_embedded,
        store_root=Path(settings.store),
        build_stages=partial(build_stages, settings),
        jobs=jobs,
        threads=settings.run.threads or max(1, len(os.sched_getaffinity(0)) // jobs),
        on_snapshot=on_snapshot,
    )
    first = start(events)
    late = last_bells(first) if len(settings.matchers) > 1 and not first.interrupted else ()
    if not late:
        return first
    second = start(late)
    return replace(
        second,
        elapsed_seconds=first.elapsed_seconds + second.elapsed_seconds,
        videos={**second.videos, **first.videos},
        dead_letters=first.dead_letters + second.dead_letters,
    )
