"""`standard` beside `paper` on the same samples and base intervals: chains at twice and four times the largest one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.findings import Findings, say
from bench.labelled import Frames, Labelled, score_together
from bench.workspace import Scene, Workspace
from gim.records import Float32Array
from gim.settings import Settings

_ASKED = {2: 1.3, 4: 5.0}  # times the largest base interval -> pairs over those of `paper`
_SLACK = 0.002  # shares this close are equal: another seed of the fits moves them as much
_MAX_JUDGED = 20_000  # correspondences of one table row, evenly taken: casting rays costs 0.1 ms each
_STEP_SECONDS = 0.1  # a sample; more starts than the default step gives


@dataclass(frozen=True, slots=True)
class Group:
    """Scenes that are judged together, and their base intervals in samples."""

    name: str
    scenes: tuple[str, ...]
    base_intervals: tuple[int, ...]

    @property
    def sets(self) -> tuple[str, ...]:
        """The settings that give every recipe these samples and base intervals."""
        near, *far = self.base_intervals
        return (
            f"sampling.interval_seconds={_STEP_SECONDS}",
            f"pairing.base_intervals={near},{_joined(far)}",
            f"propagation.merge_base_intervals={_joined(far)}",
        )


_GROUPS = (
    Group("posed, base 0.1 to 0.4 s", ("kitti06", "kitti05", "kitti01"), (1, 2, 4)),
    Group("posed, base 0.2 to 0.8 s", ("kitti06", "kitti05", "kitti01"), (2, 4, 8)),
    Group("synthetic, base 0.2 to 0.8 s", ("synthetic", "rendered"), (2, 4, 8)),
)
_QUICK = (
    Group("kitti06, base 0.1 to 0.4 s", ("kitti06",), (1, 2, 4)),
    Group("bundled clip, base 0.2 to 0.8 s", ("synthetic",), (2, 4, 8)),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A recipe and what is set above it."""

    name: str
    recipe: str
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """Chains of one interval."""

    num_pairs: int = 0
    num_correspondences: int = 0
    num_near: float = 0.0  # within 2 px of the truth

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.num_pairs + other.num_pairs,
            self.num_correspondences + other.num_correspondences,
            self.num_near + other.num_near,
        )

    @property
    def within_2px(self) -> float | None:
        """Share of the correspondences; None without any."""
        return self.num_near / self.num_correspondences if self.num_correspondences else None

    @property
    def cells(self) -> tuple[int, int, float | None]:
        """For a table."""
        return self.num_pairs, self.num_correspondences, self.within_2px


def chains_at(
    workspace: Workspace, video: Path, interval: int, *, recipe: str = "standard", sets: Sequence[str] = ()
) -> Labelled:
    """The chains of exactly one interval, of every start that reaches it or beyond.

    A run that may go no farther keeps them: the farthest pair of such a start is then this one.
    """
    ends = (f"propagation.max_interval={interval}", f"propagation.min_interval={interval}")
    return workspace.label(video, [*sets, *ends], recipe=recipe)


def measure_recipes(workspace: Workspace, findings: Findings) -> None:
    """Count and judge the chains of both recipes wherever the cameras are known."""
    for group in _QUICK if workspace.effort == "quick" else _GROUPS:
        scenes = workspace.scenes(group.scenes)
        for times in _ASKED if scenes else ():
            _measure_group(workspace, findings, group, scenes, times)


def _variants() -> tuple[Variant, ...]:
    """`paper` stops below 1,025 links; with the bound of `standard` the rest of the two methods is compared."""
    standard = Settings.load(environ={}).propagation
    bound = (f"propagation.min_links={standard.min_links}", f"propagation.min_kept={standard.min_kept}")
    return (
        Variant("standard", "standard"),
        Variant("paper", "paper"),
        Variant(f"paper from {standard.min_links} links", "paper", bound),
    )


def _measure_group(workspace: Workspace, findings: Findings, group: Group, scenes: Sequence[Scene], times: int) -> None:
    interval = times * group.base_intervals[-1]
    rows: list[tuple[object, ...]] = []
    num_possible = 0
    totals = {variant.name: Count() for variant in _variants()}
    for scene in scenes:
        ours: dict[Frames, Float32Array] = {}
        for variant in _variants():
            say(f"{scene.name}, {variant.name}, {interval} samples")
            sets = (*group.sets, *variant.sets)
            labelled = chains_at(workspace, scene.video, interval, recipe=variant.recipe, sets=sets)
            ours = ours or labelled.pairs
            count = _count(labelled.pairs, scene)
            same_starts = _count({pair: ours[pair] for pair in labelled.pairs if pair in ours}, scene)
            possible = labelled.starts_with_room(interval)
            rows.append((scene.name, variant.name, possible, *count.cells, same_starts.within_2px))
            totals[variant.name] += count
        num_possible += possible
    title = f"{group.name}: chains at {times} times the largest base interval, {_STEP_SECONDS * interval:g} s"
    columns = ("scene", "recipe", "possible", "pairs", "corr.", "< 2 px", "standard < 2 px, same starts")
    findings.add(title, columns, rows)
    _claim(findings, f"{group.name}, at {times}x", _ASKED[times], totals, num_possible)


def _count(pairs: dict[Frames, Float32Array], scene: Scene) -> Count:
    num_correspondences = sum(len(points) for points in pairs.values())
    every = 1 + num_correspondences // _MAX_JUDGED
    one = score_together({pair: points[::every] for pair, points in pairs.items()}, scene.cameras)
    if one is None:
        return Count()
    errors = one.point or one.epipolar
    return Count(len(pairs), num_correspondences, errors.within_2px * num_correspondences)


def _claim(findings: Findings, what: str, asked: float, totals: dict[str, Count], num_possible: int) -> None:
    (_, ours), *others = totals.items()
    for name, other in others:
        is_right = other.within_2px is None or (ours.within_2px or 0.0) >= other.within_2px - _SLACK
        findings.claim(
            f"{what}: standard over {name}, pairs; share < 2 px",
            f">= {asked:g}x or all there are; no less",
            f"{ours.num_pairs}/{other.num_pairs} of {num_possible}; {_share(ours)}/{_share(other)}",
            0 < ours.num_pairs >= min(asked * other.num_pairs, num_possible) and is_right,
        )


def _share(count: Count) -> str:
    return "-" if count.within_2px is None else f"{count.within_2px:.3f}"


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
