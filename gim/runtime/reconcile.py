"""Rings the bells that were lost in a folder: finds every video whose chain stopped, and finishes it.

A video is taken up when nothing of it was ever finished, or when work under the current settings was begun and not
finished; one that is finished under other settings is left alone. `gim run` on its source starts what never began.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from gim.adapters.store_file import FileStore
from gim.errors import Unavailable
from gim.ports.store import Store
from gim.runtime.chains import Chains, StoppedVideo
from gim.runtime.embedded import RunReport
from gim.runtime.inventory import Leftover, find_damage, find_orphans
from gim.runtime.journal import RunSnapshot
from gim.runtime.last_bells import work_off
from gim.runtime.run_folder import running_runs
from gim.settings import Settings


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What was found, and what was done."""

    videos: list[StoppedVideo]
    orphans: list[Leftover]
    damaged: list[Leftover]
    removed: list[str]  # prefixes of those that were pruned
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """130 when interrupted, else the worst of the videos', else 2 when there is damage that was not removed."""
        if self.interrupted:
            return 130
        codes = {video.exit_code for video in self.videos}
        worst = next((code for code in (1, 3, 2) if code in codes), 0)
        return worst or (2 if any(item.prefix not in self.removed for item in self.damaged) else 0)


def reconcile(
    settings: Settings,
    *,
    dry_run: bool = False,
    prune: bool = False,
    verify: bool = False,
    on_snapshot: Callable[[RunSnapshot], None] | None = None,
) -> ReconcileResult:
    """Look through the store and finish what can be finished.

    Args:
        settings: of the store, and those to finish with.
        dry_run: only say what would be done.
        prune: remove orphans, and damaged results and frames, which are then made again; never a damaged source.
        verify: read every shard and source and compare its hash.
        on_snapshot: as in `run_embedded`.

    Raises:
        ConfigError: the folder is no store.
        Unavailable: something is to be removed while a run works on the store.
    """
    root = Path(settings.store)
    with closing(FileStore(root, create=False)) as store:
        chains = Chains(store, root, settings)
        damaged = find_damage(store) if verify else []
        orphans = find_orphans(store, in_work=chains.in_work())
        made_again = [item for item in damaged if not item.prefix.startswith("videos/")]
        removed = [] if dry_run or not prune else _prune(store, root, [*made_again, *orphans])
        stopped = list(
            chains.stopped(also={item.prefix.split("/")[1] for item in made_again if item.prefix in removed})
        )
        to_do = [video for video in stopped if not video.error]
        if dry_run or not to_do:
            return ReconcileResult(stopped, orphans, damaged, removed)
        ids = [video.video_id for video in to_do]
        requests = {video_id: chains.request(video_id) for video_id in ids}  # asked now: a refused video goes

        names = {video.video_id: (video.source,) for video in to_do}

        def tell(snapshot: RunSnapshot) -> None:
            if on_snapshot is not None:
                videos = {
                    video_id: replace(activity, sources=activity.sources or names.get(video_id, ()))
                    for video_id, activity in snapshot.videos.items()
                }
                on_snapshot(replace(snapshot, videos=videos, num_videos=len(ids)))

        report = work_off(
            [event for video_id in ids for event in chains.bells(video_id)],
            settings,
            lambda _: [event for video_id in ids for event in chains.last_bell(video_id)],
            tell,
        )
        videos = [
            video if video.error else _outcome(chains, video, requests[video.video_id], report) for video in stopped
        ]
    return ReconcileResult(videos, orphans, damaged, removed, report.interrupted)


def _outcome(chains: Chains, video: StoppedVideo, request: str, report: RunReport) -> StoppedVideo:
    """What came of a stopped video."""
    result = chains.result(video.video_id)
    if result is not None:
        return replace(video, status="finished", num_pairs=result.num_pairs)
    ending = report.ending(video.video_id, request)
    error = ending.error if ending.status == "failed" else f"{video.video_id}: {ending.error}"
    return replace(video, status=ending.status, error=error, exit_code=ending.exit_code)


def _prune(store: Store, root: Path, leftovers: Sequence[Leftover]) -> list[str]:
    running = running_runs(root)
    if leftovers and running:
        raise Unavailable(f"a run works on this store now ({running[0]}): prune when it has ended")
    return remove_leftovers(store, leftovers)


def remove_leftovers(store: Store, leftovers: Sequence[Leftover]) -> list[str]:
    """Remove their objects; returns the prefixes."""
    for leftover in leftovers:
        # Manifests first: what is half removed is not taken for whole.
        for key in sorted(store.list(leftover.prefix), key=lambda key: not key.endswith(".json")):
            store.delete(key)
    return [leftover.prefix for leftover in leftovers]
