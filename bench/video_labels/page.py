"""What docs/results.md says of the experiment, made from bench/results/video_labels.json; `plot.py` draws it."""

from typing import Any

from bench.code_tables import markdown_table
from bench.video_labels.conditions import CONDITIONS, FILMS, HELD_OUT_PLANES, POSED_MEAN, REFERENCES

Document = dict[str, Any]
PLOT = "video_labels.svg"
TITLES = {
    "fox": "fox, poses",
    "kitti06": "kitti06, poses",
    POSED_MEAN: "mean of both",
    HELD_OUT_PLANES: "homography, corners",
}


def section(document: Document | None) -> str:
    """The tables, and the plot by its name."""
    if document is None:
        return "Not measured yet: run `make experiment-video-labels`, then `python -m bench.readme`."
    picture = f"![AUC of the conditions](images/{PLOT})"
    return "\n\n".join([_facts(document), picture, _scores(document), _steps(document), _seeds(document)])


def unit_of(benchmark: str) -> str:
    """Of its thresholds."""
    return "px" if benchmark == HELD_OUT_PLANES else "°"


def _facts(document: Document) -> str:
    machine, pairs = document["machine"], {name: facts["pairs"] for name, facts in document["datasets"].items()}
    sets = ", ".join(f"`{text.removeprefix('train.')}`" for text in document["sets"])
    return (
        f"{len(FILMS)} films; base labels give {pairs['base']:,} pairs, with propagation {pairs['propagated']:,}. "
        f"Every run: recipe `{document['recipe']}` from scratch with {sets}; {document['num_pairs']:,} pairs, the last "
        f"checkpoint. {len(document['seeds'])} seeds of each condition, on {machine['cores']} cores of "
        f"{machine['processor']}. In brackets and as lines: where 95 % of resampled sets of pairs and seeds lie."
    )


def _scores(document: Document) -> str:
    words = _words(document)
    parts = []
    for benchmark, title in TITLES.items():
        bounds = list(document["auc"][CONDITIONS[0].name][benchmark])
        rows = [
            [words[name], *(_estimate(document["auc"][name][benchmark][bound]) for bound in bounds)] for name in words
        ]
        columns = [f"AUC@{bound}{unit_of(benchmark)}" for bound in bounds]
        parts.append(f"**{title}**\n\n" + markdown_table(["", *columns], rows))
    return "\n\n".join(parts)


def _steps(document: Document) -> str:
    """What each kind of data adds: the differences on the same resampled pairs."""
    letters = {condition.name: condition.words[:3] for condition in CONDITIONS}
    rows = []
    for name, by_bound in document["steps"].items():
        after, _, before = name.partition(" - ")
        rows.append([f"{letters[after]} - {letters[before]}", *(_estimate(each, "+.1f") for each in by_bound.values())])
    bounds = list(next(iter(document["steps"].values())))
    return "**What each adds** to the mean of both, points, on the same resampled pairs\n\n" + markdown_table(
        ["", *(f"AUC@{bound}°" for bound in bounds)], rows
    )


def _seeds(document: Document) -> str:
    """The same mean of every single run."""
    alone = document["seeds_alone"]
    rows = [
        [each.words, *(" / ".join(f"{run:.1f}" for run in runs) for runs in alone[each.name].values())]
        for each in CONDITIONS
    ]
    bounds = list(alone[CONDITIONS[0].name])
    return "**Each seed**, mean of both\n\n" + markdown_table(["", *(f"AUC@{bound}°" for bound in bounds)], rows)


def _words(document: Document) -> dict[str, str]:
    known = {each.name: each.words for each in (*CONDITIONS, *REFERENCES)}
    return {name: words for name, words in known.items() if name in document["auc"]}


def _estimate(estimate: dict[str, float], spec: str = ".1f") -> str:
    low, high = (format(estimate[name], spec) for name in ("low", "high"))
    single = estimate["low"] == estimate["high"]
    return format(estimate["mean"], spec) + ("" if single else f" ({low} to {high})")
