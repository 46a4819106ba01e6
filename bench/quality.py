"""How right the labels are, how far they reach, and against what: every part where the truth is known, one without."""

from collections.abc import Callable, Sequence

from bench import far, recipes
from bench.findings import Findings, say
from bench.labelled import Labelled, score
from bench.workspace import Workspace

ALL = float("inf")  # the key of the score of all intervals
_PLAIN = {0.1: 0.99, 0.2: 0.94, 0.4: 0.86, 0.8: 0.78}  # asked: seconds -> share within 2 px on kitti06
_EVERY_FRAME = ("sampling.interval_seconds=0.1",)


def measure(workspace: Workspace, parts: Sequence[str]) -> Findings:
    """Judge the labels."""
    findings = Findings("quality")
    for part in parts:
        _MEASURES[part](workspace, findings)
    return findings


def measure_synthetic(workspace: Workspace, findings: Findings) -> None:
    """The bundled clip, whose exact truth is known, under the default settings."""
    for scene in workspace.scenes(["synthetic"]):
        say("the bundled clip against its truth")
        labelled = workspace.label(scene.video)
        scores = score(labelled.pairs, scene.cameras, labelled)
        rows = [
            ("all" if seconds == ALL else seconds, one.num_pairs, one.num_correspondences, one.point.median_px,
             one.point.within_1px, one.point.within_2px, one.epipolar.within_1px)
            for seconds, one in scores.items() if one.point
        ]  # fmt: skip
        findings.add(
            "The bundled clip: kept pairs, distance to the exact place",
            ("seconds", "pairs", "correspondences", "median px", "within 1 px", "within 2 px", "line within 1 px"),
            rows,
        )
        within_1px = scores[ALL].point.within_1px if scores and scores[ALL].point else 0.0
        findings.at_least("bundled clip: kept correspondences within 1 px of the truth", within_1px, 0.99)


def measure_kitti06(workspace: Workspace, findings: Findings) -> None:
    """The posed drive, every frame a sample: pairs matched directly, chains that hold, and pairs kept."""
    for scene in workspace.scenes(["kitti06"]):
        say("kitti06, every frame a sample")
        direct = workspace.label(scene.video, [*_EVERY_FRAME, "pairing.base_intervals=1,2,4,8"])
        kept = workspace.label(scene.video, [*_EVERY_FRAME, "propagation.min_interval=1"])
        alive = [recipes.chains_at(workspace, scene.video, interval, sets=_EVERY_FRAME) for interval in _reached(kept)]
        of_direct = score(direct.base, scene.cameras, direct)
        of_kept = score(kept.pairs, scene.cameras, kept)
        of_alive = {}
        for labelled in alive:
            of_alive |= score(labelled.pairs, scene.cameras, labelled)
        of_alive.pop(ALL, None)
        _tell_intervals(findings, {"direct": of_direct, "alive": of_alive, "kept": of_kept})
        findings.at_least(
            "kitti06: pairs in all, chains alive over pairs matched directly",
            sum(one.num_pairs for one in of_alive.values()) / max(1, of_direct[ALL].num_pairs),
            1.0,
            "x",
        )


def _reached(labelled: Labelled) -> list[int]:
    """Intervals in samples at which some chain holds: all doublings up to the farthest pair."""
    farthest = max((labelled.interval_samples(pair) for pair in labelled.pairs), default=1)
    return [1 << level for level in range(farthest.bit_length())]


def _tell_intervals(findings: Findings, scores: dict[str, dict]) -> None:
    intervals = sorted({seconds for of_kind in scores.values() for seconds in of_kind if seconds != ALL})
    rows = []
    for seconds in intervals:
        row: list[object] = [seconds, _PLAIN.get(seconds)]
        for of_kind in scores.values():
            one = of_kind.get(seconds)
            row += [one.num_pairs, one.num_correspondences, one.epipolar.within_2px] if one else [0, 0, None]
        rows.append(row)
    columns = ["seconds", "asked"]
    for kind in scores:
        columns += [f"{kind}: pairs", "corr.", "< 2 px"]
    findings.add("kitti06 (every frame a sample): share within 2 px of the epipolar line", columns, rows)
    for seconds, asked in _PLAIN.items():
        for kind in ("alive", "kept"):
            if seconds in scores[kind]:
                share = scores[kind][seconds].epipolar.within_2px
                findings.at_least(f"kitti06, {seconds} s, {kind}: within 2 px", share, asked)


_MEASURES: dict[str, Callable[[Workspace, Findings], None]] = {
    "synthetic": measure_synthetic,
    "kitti06": measure_kitti06,
    "recipes": recipes.measure_recipes,
    "far": far.measure_far,
}
PARTS = tuple(_MEASURES)
