"""Writes what the pages take from results and code: `python -m bench.readme [--check]`.

Sections between `<!-- NAME:begin -->` and `<!-- NAME:end -->` are made here: `results` from the JSON files that the
benches left in bench/results, `simulated`, `sizing` and `images` each from one of them, `parity` from that of
`python -m bench.parity`, `video-labels` and its plot from that of `python -m bench.video_labels`, `example` from what
`python -m bench.example` recorded, all others from the code, as is docs/settings.md. With `--check` nothing is
written, and the exit code says whether the pages are up to date.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench import parity
from bench.code_tables import (
    exports_part,
    markdown_table,
    plan_tables,
    quality_table,
    reasons_table,
    recipe_table,
    settings_page,
)
from bench.video_labels import page, plot

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
_VERDICT = {True: "holds", False: "**falls short**", None: ""}


def pages(results: Path = RESULTS) -> dict[Path, str]:
    """Each page that is made, whole or in part, with the text it should have."""
    made = {ROOT / "docs" / "settings.md": settings_page()}
    labels = _document(results / "video_labels.json")
    if labels is not None:
        made[ROOT / "docs" / "images" / page.PLOT] = plot.plot(labels)
    parts = {
        "README.md": {"example": example(results), "recipes": recipe_table(), "results": results_part(results)},
        "docs/parity.md": {"parity": parity.tables(results / "parity.json")},
        "docs/results.md": {"video-labels": page.section(labels)},
        "docs/runbook.md": {"sizing": simulated_part(results, sizing=True)},
        "docs/simulation.md": {"plan": plan_tables(), "simulated": simulated_part(results)},
        "services/README.md": {"images": images_part(results)},
        "docs/formats.md": {"quality": quality_table(), "reasons": reasons_table(), "exports": exports_part()},
    }
    for name, sections in parts.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for section, content in sections.items():
            text = replace_section(text, section, content)
        made[ROOT / name] = text
    return made


def _document(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def results_part(folder: Path) -> str:
    """What the benches found: claims, and the tables behind them folded away."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [_finding(document) for document in found if "claims" in document]
    return "\n\n".join(parts) if parts else "Not measured yet: run `make bench`, then `python -m bench.readme`."


def example(folder: Path) -> str:
    """What the two commands of the first five minutes print."""
    blocks = [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("example-*.txt"))]
    return (
        "\n\n".join(f"```text\n{block}\n```" for block in blocks) or "Not recorded yet: run `python -m bench.example`."
    )


def simulated_part(folder: Path, *, sizing: bool = False) -> str:
    """What the bench `simulation` found: its sizing tables, for those who buy machines, or all others."""
    document = _document(folder / "simulation.json")
    if document is None:
        return "Not simulated yet: run `python -m bench simulation`, then `python -m bench.readme`."
    tables = [table for table in document["tables"] if table["title"].startswith("Sizing") == sizing]
    notes = [f"- {note}" for note in (document["notes"][:1] if sizing else document["notes"])]
    return "\n\n".join([*(part.strip() for part in _tables(tables)), "\n".join(notes)])


def images_part(folder: Path) -> str:
    """What the bench `images` found: times and sizes, largest packages, layers."""
    document = _document(folder / "images.json")
    if document is None:
        return "Not measured yet: run `make bench-images`, then `python -m bench.readme`."
    return "\n\n".join([f"{_machine(document)}.", *(part.strip() for part in _tables(document["tables"]))])


def replace_section(text: str, name: str, content: str) -> str:
    """A page with what lies between `<!-- name:begin -->` and `<!-- name:end -->` replaced.

    Raises:
        ValueError: the page has no such section.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no {begin} ... {end} in the page")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def _finding(document: dict[str, Any]) -> str:
    rows = [
        [claim["what"], claim["asked"], claim["measured"], _VERDICT[claim["holds"]]] for claim in document["claims"]
    ]
    parts = [f"**{document['name']}** ({_machine(document)})", markdown_table(["", "asked", "measured", ""], rows)]
    parts += [f"Note: {note}" for note in document.get("notes", [])]
    tables = _tables(document.get("tables", []))
    if tables:
        parts.append("<details><summary>tables</summary>\n\n" + "\n\n".join(tables).strip() + "\n\n</details>")
    return "\n\n".join(part.strip() for part in parts)


def _tables(tables: list[dict[str, Any]]) -> list[str]:
    return [
        f"{table['title']}\n\n"
        + markdown_table(table["columns"], [[_cell(cell) for cell in row] for row in table["rows"]])
        for table in tables
    ]


def _machine(document: dict[str, Any]) -> str:
    machine = document["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, effort: {document['effort']}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    check = parser.parse_args().check
    wanted = pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date: run `python -m bench.readme`\n")
        else:
            path.write_text(wanted[path], encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
