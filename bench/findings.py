"""What a bench found: claims (asked beside measured) and tables, printed and written as JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Claim:
    """One number that was asked for, and what came of it."""

    what: str
    asked: str
    measured: str
    holds: bool | None = None  # None: nothing was asked


@dataclass(frozen=True, slots=True)
class Table:
    """Rows beside a claim; a cell is text or a number."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(slots=True)
class Findings:
    """All that one bench found."""

    name: str  # of the file in bench/results
    claims: list[Claim] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def claim(self, what: str, asked: str, measured: str, holds: bool) -> None:
        """A claim of more than one number."""
        self.claims.append(Claim(what, asked, measured, holds))

    def at_least(self, what: str, measured: float, asked: float, unit: str = "") -> None:
        """A claim that holds from `asked` on."""
        self.claims.append(Claim(what, f">= {asked:g}{unit}", f"{_number(measured)}{unit}", measured >= asked))

    def at_most(self, what: str, measured: float, asked: float, unit: str = "") -> None:
        """A claim that holds up to `asked`."""
        self.claims.append(Claim(what, f"<= {asked:g}{unit}", f"{_number(measured)}{unit}", measured <= asked))

    def tell(self, what: str, measured: str) -> None:
        """A number nobody set a bound for."""
        self.claims.append(Claim(what, "", measured))

    def add(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; it is printed at once, as the next may take minutes."""
        table = Table(title, tuple(columns), [tuple(_rounded(value) for value in row) for row in rows])
        self.tables.append(table)
        _print_columns(table.title, table.columns, table.rows)

    def write(self, facts: dict[str, Any]) -> Path:
        """Write bench/results/<name>.json."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps({**facts, **asdict(self)}, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return path

    def show(self) -> None:
        """Print notes and, last, the claims."""
        for note in self.notes:
            sys.stdout.write(f"\nNote: {note}\n")
        verdict = {True: "holds", False: "FALLS SHORT", None: ""}
        rows = [(claim.what, claim.asked, claim.measured, verdict[claim.holds]) for claim in self.claims]
        _print_columns(f"{self.name}: asked and measured", ("", "asked", "measured", ""), rows)


def say(text: str) -> None:
    """Tell what is being done, apart from the results."""
    print(f"... {text}", file=sys.stderr, flush=True)


def _print_columns(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [tuple(columns), *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    sys.stdout.write(f"\n{title}\n")
    for row in cells:
        padded = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        sys.stdout.write("  ".join(["", row[0].ljust(widths[0]), *padded]).rstrip() + "\n")
    sys.stdout.flush()


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 3
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
