"""What `gim ls matchers` says of each matcher: what it is, which weights it wants, what may be done with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gim.settings import Settings

if TYPE_CHECKING:
    from gim.weights.config import WeightsConfig

Row = dict[str, Any]

_HERE, _TO_FETCH, _BY_HAND, _MISSING, _REFUSED = "here", "to fetch", "by hand", "missing", "refused"
_OBSTACLES = {
    _REFUSED: "the licence of {0} is not permissive, which weights.licences asks for",
    _BY_HAND: "{0} has to be put by hand: `gim weights get {0}` says which file and where",
    _MISSING: "there is no file {0}",
}
_ANY_BRIDGED = "vismatch:NAME"


def list_matchers(settings: Settings) -> list[Row]:
    """The matchers of the package with the weights that the settings give them, then those behind bridges."""
    from gim.matchers.registry import bridged_names, matcher_names

    rows = [_described(name, settings) for name in matcher_names()]
    return rows + [_bridged(name, settings) for name in bridged_names() or [_ANY_BRIDGED]]


def print_matchers(rows: list[Row]) -> None:
    """Print a table with the weights of a matcher below it, and below the table whatever needs a sentence."""
    from rich.table import Table

    from gim.cli._terminal import cell, print_table, printable

    table = Table("matcher, weights", "", "runs", "licence of code, weights", box=None, pad_edge=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    for row in rows:
        lines = [(row["matcher"], row["kind"], "yes" if row["runs_here"] == "yes" else "no", row["licence"])]
        lines += [(f"  {Path(item['weights']).name}", item["state"], "", _terms(item)) for item in row["weights"]]
        for line in lines:
            table.add_row(*(cell(text) for text in line))
    print_table(table)
    for note in _notes(rows):
        print(printable(note))


def _described(name: str, settings: Settings) -> Row:
    from gim.errors import UnknownMatcher
    from gim.matchers.registry import described_class, matcher_status, weights_of

    reason = matcher_status(name)
    try:
        matcher = described_class(name)
    except UnknownMatcher as error:  # a file of somebody else's that imports at its top what is not here
        return _row(name, "", "", [], reason or str(error))
    weights = [_weights(item, settings.weights) for item in weights_of(name, matcher, settings.matcher.get(name))]
    return _row(name, "dense" if matcher.dense else "sparse", matcher.licence, weights, reason or _obstacle(weights))


def _bridged(name: str, settings: Settings) -> Row:
    from gim.matchers.registry import described_class, matcher_status

    reason = matcher_status(name)
    if settings.weights.licences == "permissive":
        reason = reason or "weights.licences is permissive, and nobody states the licence of its weights"
    return _row(name, "bridge", described_class(name).licence, [], reason)


def _row(name: str, kind: str, licence: str, weights: list[Row], reason: str) -> Row:
    return {"matcher": name, "kind": kind, "licence": licence, "weights": weights, "runs_here": reason or "yes"}


def _weights(name: str, config: "WeightsConfig") -> Row:
    """Whether weights are here, without reading them; a file of the user's own says for itself what it is."""
    from gim.weights.files import is_own_file, own_file_path, present_file, spec_named

    if is_own_file(name):
        state = _HERE if own_file_path(name, config) else _MISSING
        return {"weights": name, "state": state, "licence": "as the file's", "permissive": None}
    spec = spec_named(name)
    is_allowed = config.licences == "any" or spec.is_permissive
    can_be_fetched = not config.offline and any(published.urls for published in spec.files)
    state = _HERE if present_file(spec, config) else _TO_FETCH if can_be_fetched else _BY_HAND
    return {
        "weights": name,
        "state": state if is_allowed else _REFUSED,
        "licence": spec.licence,
        "permissive": spec.is_permissive,
    }


def _obstacle(weights: list[Row]) -> str:
    """Why a matcher cannot have its weights, in one line; empty when it has them or can fetch them."""
    reasons = (_OBSTACLES[item["state"]].format(item["weights"]) for item in weights if item["state"] in _OBSTACLES)
    return next(reasons, "")


def _terms(item: Row) -> str:
    return f"{item['licence']}, permissive" if item["permissive"] else str(item["licence"])


def _notes(rows: list[Row]) -> Iterator[str]:
    """Why what does not run does not, each reason once, and what has to be known of the words of the table."""
    if any(item["state"] == _TO_FETCH for row in rows for item in row["weights"]):
        yield "to fetch: at first use, or now by `gim weights get NAME`"
    for reason in dict.fromkeys(row["runs_here"] for row in rows if row["runs_here"] != "yes"):
        names = [row["matcher"] for row in rows if row["runs_here"] == reason]
        yield f"{', '.join(names)}: {reason}"
