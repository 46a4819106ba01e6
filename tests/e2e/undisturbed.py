"""What one machine makes of some clips with nobody in its way: the bytes that services must make, whatever happens."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gim.adapters.store_file import FileStore
from gim.ports.store import Store
from tests.e2e.cluster import Cluster, results_of
from tests.e2e.commands import run_gim
from tests.synthetic import small_clip

# Several segments and shards of a short clip, so that there are moments between them.
SETS = {"GIM_SAMPLING__SEGMENT_SAMPLES": "6", "GIM_PROPAGATION__SHARD_PAIRS": "4"}
SERVICES = ("downloader", "matcher", "propagator")


@dataclass(frozen=True)
class Undisturbed:
    """What one machine makes of some clips with nobody in its way."""

    clips: tuple[Path, ...]
    objects: dict[str, bytes]

    def assert_equal(self, system: Cluster) -> None:
        with closing(system.store()) as store:
            self.assert_in(store)

    def assert_in(self, store: Store) -> None:
        """That a store holds the same results to the last byte, and no others."""
        found = results_of(store)
        assert sorted(found) == sorted(self.objects)
        assert [key for key in found if found[key] != self.objects[key]] == []


def undisturbed_run(folder: Path, num_clips: int, seconds: float) -> Undisturbed:
    clips = tuple(folder / f"clip{number}.mp4" for number in range(num_clips))
    for number, clip in enumerate(clips):
        small_clip(
            clip, kind="terrain", seed=number, duration_seconds=seconds, still_seconds=0.5, size=(320, 180), fps=10
        )
    done = run_gim("run", *clips, "--store", folder / "store", "--quiet", **SETS)
    assert (done.returncode, done.stderr) == (0, "")
    with closing(FileStore(folder / "store", create=False)) as store:
        objects = results_of(store)
    assert sum(key.endswith(".tar") for key in objects) >= 2 * num_clips
    return Undisturbed(clips, objects)
