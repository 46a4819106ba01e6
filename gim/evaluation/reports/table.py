"""The report on a terminal: the table in as many blocks as it is too wide for, sums, and paired differences."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gim.evaluation.bootstrap import CONFIDENCE_PERCENT
from gim.evaluation.reports import cells
from gim.evaluation.reports.contents import Contents, Row, Summary
from gim.evaluation.reports.notes import NAME

# As the paper's table heads its columns.
SHORT_NAMES = {
    "GL3D": "GL3",
    "BlendedMVS": "BLE",
    "ETH3DI": "ETI",
    "ETH3DO": "ETO",
    "KITTI": "KIT",
    "RobotcarWeather": "WEA",
    "RobotcarSeason": "SEA",
    "RobotcarNight": "NIG",
    "Multi-FoV": "MUL",
    "SceneNetRGBD": "SCE",
    "ICL-NUIM": "ICL",
    "GTA-SfM": "GTA",
}
_NUM_FULL = 2  # methods of which every difference is shown; of more, those of the means


def as_table(contents: Contents, width: int) -> RenderableType:
    """What a console of so many characters prints."""
    blocks = _score_blocks(contents, width)
    abbreviated = ", ".join(f"{SHORT_NAMES[name]} {name}" for name in contents.columns if name in SHORT_NAMES)
    legend = [Text(f"Datasets: {abbreviated}", style="dim")] if abbreviated else []
    notes = [Text(f"{cells.raised(note.mark)} {note.text}".strip(), style="dim") for note in contents.notes]
    parts: list[RenderableType] = [_title("AUC@5° in percent"), *blocks, *legend, *notes]
    parts += [Text(), _title("All pairs read: means over datasets"), _summary_table(contents.summaries)]
    if contents.comparison.differences:
        parts += [Text(), _title("AUC@5° of two methods, on the same pairs"), *_differences(contents)]
    parts.append(Text(f"[ ]: {CONFIDENCE_PERCENT:g} % intervals over resampled sets of pairs", style="dim"))
    return Group(*parts)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _score_blocks(contents: Contents, width: int) -> list[RenderableType]:
    """The table, whole where it fits, else dataset after dataset in as many blocks as it takes."""
    first = _score_table(contents, contents.columns)
    if _width_of(first) <= width:
        return [first]
    blocks: list[list[str]] = [[]]
    for column in contents.columns:
        if blocks[-1] and _width_of(_score_table(contents, [*blocks[-1], column])) > width:
            blocks.append([])
        blocks[-1].append(column)
    return [_score_table(contents, block) for block in blocks]


def _score_table(contents: Contents, columns: Sequence[str]) -> Table:
    table = _table(["method", "mean", "rank", *(SHORT_NAMES.get(name, cells.printable(name)) for name in columns)])
    lines = [[_name(row), *cells.row_cells(row, list(columns))] for row in contents.rows]
    num_read = len(contents.summaries)
    for index, (row, line) in enumerate(zip(contents.rows, _aligned(lines), strict=True)):
        if index == num_read:
            table.add_row()
        table.add_row(*map(Text, line), style="dim" if row.is_printed else "")
    return table


def _name(row: Row) -> str:
    return cells.marked(f"{cells.printable(row.name)}{', printed' if row.is_printed else ''}", row, NAME)


def _aligned(lines: list[list[str]]) -> list[list[str]]:
    """Blanks behind numbers where another of the column has a mark or a bracket, so that points stand in line."""
    tails = [max(_tail(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        [line[0], *(cell + " " * (tails[place] - _tail(cell)) for place, cell in enumerate(line[1:], start=1))]
        for line in lines
    ]


def _tail(cell: str) -> int:
    return len(cell) - len(cell.rstrip(")⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _summary_table(summaries: Iterable[Summary]) -> Table:
    heads = ["method", "version", "datasets", "pairs", "failures", "AUC@5°", "AUC@10°", "AUC@20°"]
    table = _table([*heads, "right before", "right after"])
    for item in summaries:
        table.add_row(
            Text(cells.printable(item.name)),
            Text(cells.printable(item.version + (f", {item.num_seeds} seeds" if item.num_seeds > 1 else ""))),
            str(item.num_datasets),
            f"{item.num_pairs:,}",
            f"{item.num_failures:,}",
            *(Text(cells.with_interval(item.auc[bound], item.interval[bound])) for bound in item.auc),
            f"{item.precision_before:.1f} %",
            f"{item.precision_after:.1f} %",
        )
    return table


def _differences(contents: Contents) -> list[RenderableType]:
    is_full = len(contents.summaries) <= _NUM_FULL
    table = _table(["method", "less", "on", "AUC@5°", ""])
    for item in contents.comparison.differences:
        if is_full or not item.dataset:
            table.add_row(
                Text(cells.printable(item.method)),
                Text(cells.printable(item.other)),
                Text(cells.printable(contents.place_of(item))),
                Text(cells.with_interval(item.auc["5"], item.interval["5"], is_signed=True)),
                cells.verdict(item.interval["5"]),
            )
    more = Text("on each dataset: with --json, --csv, --xlsx, --markdown or --html", style="dim")
    return [table] if is_full else [table, more]


def _table(heads: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        is_word = head in ("method", "version", "less", "on", "")
        table.add_column(head, justify="left" if is_word else "right", no_wrap=True)
    return table


def _width_of(table: Table) -> int:
    return Console(width=10_000).measure(table).maximum
