"""Where the time of a pair goes when RootSIFT is evaluated, step by step in one thread."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bench.findings import Findings, say
from bench.workspace import Workspace
from gim import codecs
from gim.adapters.store_file import FileStore
from gim.benchmarks.posed import PosedPair, read_posed_pairs
from gim.evaluation.passes import CHUNK, Predictions
from gim.evaluation.pose_scorer import pose_scorer
from gim.evaluation.protocols import PROTOCOLS
from gim.matchers.base import correspondences_of
from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.runtime.threads import one_thread_each

SCENES = ("kitti06", "fox")


def measure_profile(findings: Findings, workspace: Workspace) -> None:
    """Neighbouring pairs of each scene, each image looked at once."""
    rows = []
    for scene in SCENES:
        folder = workspace.data / "posed" / scene
        if folder.is_dir():
            say(f"profile on {scene}")
            pairs = read_posed_pairs(folder / "pairs.txt")[: workspace.chosen(quick=4, normal=4, full=CHUNK)]
            with one_thread_each():
                rows += [(scene, *row) for row in _profile(workspace, folder, pairs)]
    columns = ("scene", "step", "ms a time", "times a pair", "ms a pair")
    findings.add("rootsift at full size, one thread: processor time by step", columns, rows)


def _profile(workspace: Workspace, folder: Path, pairs: Sequence[PosedPair]) -> list[tuple[str, float, float, float]]:
    matcher = RootSift(RootSiftConfig())
    clock = _Clock()
    held = {}
    found = []
    for name in dict.fromkeys(name for pair in pairs for name in (pair.image0, pair.image1)):
        with clock.timed("reading"):
            image = codecs.decode_image((folder / name).read_bytes())
        with clock.timed("features"):
            held[name] = matcher.extract(image)
    for pair in pairs:
        sides = (held[pair.image0], held[pair.image1])
        with clock.timed("matching"):
            found.append(correspondences_of(*sides, *matcher.match_features(*sides)))
    for protocol in PROTOCOLS:
        scorer = pose_scorer(pairs, protocol)
        for place, item in enumerate(found):
            with clock.timed(f"scoring by {protocol.name}"):
                scorer.score(place, item.points)
    with clock.timed("keeping the matches"), closing(FileStore(workspace.folder / "profile")) as store:
        store.put(f"predictions/{folder.name}.npz", codecs.to_npz(Predictions.pack(found)))
    return clock.rows(len(pairs))


class _Clock:
    """Seconds of this thread by step."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        self._seconds.setdefault(step, []).append(time.thread_time() - started)

    def rows(self, num_pairs: int) -> list[tuple[str, float, float, float]]:
        """Milliseconds each time, times a pair, milliseconds a pair."""
        return [
            (step, 1e3 * sum(took) / len(took), len(took) / num_pairs, 1e3 * sum(took) / num_pairs)
            for step, took in self._seconds.items()
        ]
