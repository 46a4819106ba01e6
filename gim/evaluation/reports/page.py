"""The report as one self-contained HTML page: the tables, charts of SVG, and the worst pairs.

It looks like the page over a run's videos (`gim.report`), whose style it begins with. Names come from files: all are
escaped, and a content policy lets only our own script run and nothing be fetched.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from gim.evaluation.bootstrap import CONFIDENCE_PERCENT
from gim.evaluation.comparison import Difference
from gim.evaluation.reports import cells
from gim.evaluation.reports.bars import score_bars
from gim.evaluation.reports.contents import Contents
from gim.evaluation.reports.curves import overall_curves, overlap_curves, recall_curves
from gim.evaluation.reports.drawings import CorrespondencesOf, draw_worst, encode, no_correspondences
from gim.evaluation.reports.forest import ForestRow, forest_plot
from gim.evaluation.reports.notes import MEAN, NAME, RANK
from gim.evaluation.reports.svg import form
from gim.evaluation.reports.worst import WorstPair, all_worst
from gim.evaluation.scores import MAIN

WorstPairKey = tuple[str, str, str]  # method, dataset, identifier
MAX_CHARTED = 8  # methods: more have no colours that can be told apart
_NUM_WORST = 5  # of a method on a dataset
_MAX_DRAWN = 72  # pictures of a page
_WHOLE, _HALF = 1296.0, 640.0  # width of a plot, CSS pixels


def as_page(
    contents: Contents, *, images: Path | None = None, correspondences_of: CorrespondencesOf = no_correspondences
) -> str:
    """The text of the page.

    Args:
        contents: what it says.
        images: the folder of ZEB's datasets, from which the worst pairs are drawn.
        correspondences_of: what a method found on a pair, see `draw_worst`.

    Raises:
        InvalidInput: images cannot be read.
    """
    names = [item.name for item in contents.summaries][:MAX_CHARTED]
    worst = list(all_worst(contents, _NUM_WORST))
    pictures = _pictures(images, worst, correspondences_of) if images is not None else {}
    return _render(
        {
            "title": "Scores on ZEB" if contents.is_zeb else "Scores",
            "contents": contents,
            "names": names,
            "colour": {name: index for index, name in enumerate(names)},
            "bars": score_bars(contents, names),
            "overall": overall_curves(contents, names),
            "overlap": overlap_curves(contents, names),
            "recall": recall_curves(contents, names),
            "forests": list(_forests(contents)),
            "missing": _missing(contents),
            "worst": _by_dataset(worst),
            "pictures": pictures,
            "best": _best(contents),
            "num_read": len({dataset for item in contents.results.values() for dataset in item.runs}),
            "forms": [form(kind, 10, 5, 4) for kind in range(4)],
        }
    )


def _missing(contents: Contents) -> list[dict[str, list[str]]]:
    """Methods that lack the same datasets, and these."""
    found: dict[tuple[str, ...], list[str]] = {}
    for item in contents.summaries:
        if item.missing:
            found.setdefault(tuple(item.missing), []).append(item.name)
    return [{"methods": methods, "datasets": list(datasets)} for datasets, methods in found.items()]


def _pictures(
    zeb: Path, worst: Sequence[WorstPair], correspondences_of: CorrespondencesOf
) -> dict[WorstPairKey, tuple[str, str]]:
    """Data URL, empty where nothing is drawn, and words of the pairs that the page has room for."""
    groups = [list(group) for _, group in groupby(worst, key=lambda pair: (pair.dataset, pair.method))]
    each = max(1, _MAX_DRAWN // max(1, len(groups)))
    chosen = [pair for group in groups for pair in group[:each]][:_MAX_DRAWN]
    drawings = draw_worst(zeb, chosen, correspondences_of)
    urls = iter(encode([drawing.picture for drawing in drawings if drawing.picture is not None]))
    return {_key(drawing.pair): ("" if drawing.picture is None else next(urls), drawing.words) for drawing in drawings}


def _key(pair: WorstPair) -> WorstPairKey:
    return pair.method, pair.dataset, pair.identifier


def _by_dataset(worst: Sequence[WorstPair]) -> dict[str, dict[str, list[WorstPair]]]:
    """Dataset -> method -> pairs."""
    found: dict[str, dict[str, list[WorstPair]]] = {}
    for pair in worst:
        found.setdefault(pair.dataset, {}).setdefault(pair.method, []).append(pair)
    return found


def _forests(contents: Contents) -> Iterator[Markup]:
    """First the means of all pairs of methods, where there are several, then a plot over datasets for each of them."""
    means = contents.differences(of_means=True)
    if len(means) > 1:
        rows = [ForestRow(_less(item.method, item.other), item.auc[MAIN], item.interval[MAIN]) for item in means]
        yield forest_plot("Means over the datasets that both have", rows, _WHOLE)
    for mean in means:
        own = [item for item in contents.differences(of_means=False) if _methods(item) == _methods(mean)]
        rows = [ForestRow("mean", mean.auc[MAIN], mean.interval[MAIN], is_sum=True)]
        rows += [ForestRow(cells.printable(item.dataset), item.auc[MAIN], item.interval[MAIN]) for item in own]
        yield forest_plot(_less(mean.method, mean.other), rows, _HALF if len(means) > 1 else _WHOLE)


def _methods(item: Difference) -> tuple[str, str]:
    return item.method, item.other


def _less(method: str, other: str) -> str:
    return cells.printable(f"{method} less {other}")


def _best(contents: Contents) -> dict[str, float]:
    """The largest score of each column of datasets, and of the means that compare."""
    found = {
        dataset: max((row.scores[dataset] for row in contents.rows if dataset in row.scores), default=0.0)
        for dataset in contents.columns
    }
    return {**found, MEAN: max((row.mean for row in contents.rows if row.is_whole), default=0.0)}


def _render(context: dict[str, Any]) -> str:
    loader = PrefixLoader(
        {"run": PackageLoader("gim.report", "templates"), "scores": PackageLoader(__package__, "templates")}
    )
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    sources = {
        name: loader.get_source(environment, name)[0]
        for name in ("run/report.css", "scores/scores.css", "scores/scores.js")
    }
    script = sources["scores/scores.js"]
    environment.filters.update(printable=cells.printable, breakable=_breakable)
    return environment.get_template("scores/scores.html.j2").render(
        context,
        cells=cells,
        places={"mean": MEAN, "rank": RANK, "name": NAME},
        main=MAIN,
        confidence=CONFIDENCE_PERCENT,
        key=_key,
        style=Markup(sources["run/report.css"] + sources["scores/scores.css"]),  # noqa: S704 ours, not input
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _breakable(name: str) -> Markup:
    """A name that a narrow column may break before its capitals."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", cells.printable(name)))
