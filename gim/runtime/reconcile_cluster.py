"""Rings the bells that were lost on a cluster: publishes, for every video whose chain stopped, what makes it go on.

The judgement is `reconcile`'s, read off the store. What is different is that services are at work meanwhile:
- a video is not stopped but waits, and is left alone, if messages in the queue will come to all that it lacks;
- a video with dead letters waits for a person: it would only die again;
- nothing is removed while anything is in the queue.
A bell that is rung for nothing does no harm: every stage finds what it has done.
"""

from collections.abc import Iterable
from dataclasses import replace

from gim.errors import InvalidInput, Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.runtime.chains import Chains, StoppedVideo
from gim.runtime.cluster import groups_of
from gim.runtime.dead import read_letters
from gim.runtime.inventory import Leftover, find_damage, find_orphans
from gim.runtime.queue import Queue, read_queue, youtube_video_id
from gim.runtime.reconcile import ReconcileResult, remove_leftovers
from gim.settings import Settings
from gim.wire.topics import Event, topic_of

QUEUED, DEAD, RUNG = "queued", "dead", "rung"


def reconcile_cluster(
    store: Store, bus: Bus, settings: Settings, *, dry_run: bool = False, prune: bool = False, verify: bool = False
) -> ReconcileResult:
    """Look through the store, and publish what makes stopped videos go on.

    Args:
        store: of the cluster.
        bus: of the cluster.
        settings: those that its services have.
        dry_run: only say what would be done.
        prune: remove orphans, and damaged results and frames, which are then made again; never a damaged source.
        verify: read every shard and source and compare its hash.

    Raises:
        Unavailable: a server is away, a matcher was never started, or something is to be removed while messages wait.
    """
    queue = read_queue(bus, groups_of(settings))  # before the store: what is finished meanwhile is not stopped
    chains = Chains(store, None, settings)
    damaged = find_damage(store) if verify else []
    orphans = _not_queued(find_orphans(store, in_work=chains.in_work()), queue)
    made_again = [item for item in damaged if not item.prefix.startswith("videos/")]
    removed: list[str] = []
    if prune and not dry_run and (made_again or orphans):
        if queue.num_messages:
            raise Unavailable(f"the services are at work ({queue} messages): prune when they are done")
        removed = remove_leftovers(store, [*made_again, *orphans])
    also = {item.prefix.split("/")[1] for item in made_again if item.prefix in removed}
    dead = _dead_subjects(bus)
    videos = []
    for video in chains.stopped(also):
        bells = [] if video.error else _not_covered(chains.bells(video.video_id), video, queue)
        judged = _judged(video, dead, waits=not bells)
        if judged.status == "stopped" and not dry_run:
            ring(bus, bells)
            judged = replace(judged, status=RUNG)
        videos.append(judged)
    return ReconcileResult(videos, orphans, damaged, removed)


def ring(bus: Bus, bells: Iterable[tuple[str, Event]]) -> None:
    """Publish durably what makes a video go on.

    Args:
        bus: of the cluster.
        bells: key and event of each.

    Raises:
        Unavailable: the bus cannot take it now; the same again does no harm.
    """
    for key, event in bells:
        headers = {"gim-type": event.DESCRIPTOR.full_name, "gim-producer": "reconcile"}
        bus.publish(topic_of(event), key, event.SerializeToString(deterministic=True), headers)
    bus.flush()


def _not_covered(bells: Iterable[tuple[str, Event]], video: StoppedVideo, queue: Queue) -> list[tuple[str, Event]]:
    return [(key, event) for key, event in bells if not queue.covers(event, video.video_id, video.source)]


def _judged(video: StoppedVideo, dead: dict[str, int], *, waits: bool) -> StoppedVideo:
    if video.error:
        return video
    if waits:
        return replace(video, status=QUEUED)
    num_letters = dead.get(video.video_id, 0) + dead.get(video.source, 0)
    if num_letters:
        error = f"{video.video_id}: {num_letters} dead letters wait for a person: see `gim dead ls`"
        return replace(video, status=DEAD, error=error, exit_code=InvalidInput.exit_code)
    return video


def _dead_subjects(bus: Bus) -> dict[str, int]:
    """How many dead letters wait, by the id of the video or the source they are about."""
    counts: dict[str, int] = {}
    for letter in read_letters(bus):
        subject = youtube_video_id(letter.subject) or letter.subject
        counts[subject] = counts.get(subject, 0) + 1
    return counts


def _not_queued(orphans: list[Leftover], queue: Queue) -> list[Leftover]:
    """Those that no message in the queue may still complete."""
    return [item for item in orphans if not queue.may_hold(item.prefix.split("/")[1])]
