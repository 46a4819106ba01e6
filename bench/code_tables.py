"""What the pages say of settings, recipes and formats, made from the code; `python -m bench.readme` writes them.

The meaning of a field is the comment beside it, the reason for a recipe's number the comment beside it in gim/recipes/.
"""

import ast
import importlib
import inspect
import io
import re
import tokenize
import typing
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from gim.assignments import allowed, leaves, setting_types
from gim.export.formats import FORMATS
from gim.matchers.registry import matcher_class, matcher_names, matcher_status
from gim.records import PairQuality
from gim.report.words import _REASONS, reason_of
from gim.settings import Settings, recipe_names
from gim.simulation.plan import Plan, PodsPlan

ROOT = Path(__file__).resolve().parents[1]
_ORDER = ("standard", "paper", "upstream", "base")  # the default first
_RECIPE_SECTIONS = ("sampling", "pairing", "propagation")
_HEAD = """\
# Settings

<!-- made by `python -m bench.readme` from the code; do not edit -->

Every number that can change what comes out is a setting, and `gim ls settings` prints the effective ones. Layers, each
stronger than the one before:

1. the defaults in the code,
2. the recipe: `--recipe NAME` or the path of a TOML file of your own,
3. a settings file: `--config FILE`, TOML with the same sections,
4. the environment: `GIM_SECTION__FIELD`, for example `GIM_SAMPLING__INTERVAL_SECONDS=0.1`,
5. `--set section.field=value`, repeatable, and the flags of a command.

`none` switches an optional setting off; several values are joined by commas. A name that does not exist, a value of
another type or out of range, and two settings that contradict each other are one clear line and exit code 2.

What changes the bytes that are stored is part of an id, so a changed setting makes a new place in the store and never
mixes with or overwrites what is there: `sampling`, `shots`, `motion` and `overlay` the sampling id, `pairing` and the
matcher's own settings the matcher id, `propagation` the recipe id. `run`, `source` and `limits` change no id.

Where the default is `off`, setting any field of the section switches it on, and `section=none` off again.
"""


def settings_page() -> str:
    """docs/settings.md as it should be."""
    parts = [_HEAD]
    defaults = dict(leaves(Settings.load(environ={})))
    for section, record in _sections(Settings):
        parts.append(f"## `{section}`\n\n{_first_line(record)}\n" if section else "## Top level\n")
        parts.append(_section_table(section, record, defaults))
    parts += [_matcher_part(name) for name in matcher_names() if not matcher_status(name)]
    parts.append("# Recipes\n")
    parts += [_recipe_part(name) for name in _recipes()]
    return "\n".join(parts)


def recipe_table() -> str:
    """Every number in which the recipes differ."""
    loaded = {name: Settings.load(recipe=name, environ={}) for name in _recipes()}
    shown = [_shown(settings) for settings in loaded.values()]
    rows = [[f"`{path}`", *(values.get(path, "off") for values in shown)] for path in shown[0]]
    links = [f"[`{name}`](gim/recipes/{name}.toml)" for name in loaded]
    return markdown_table(["", *links], [row for row in rows if len(set(row[1:])) > 1])


def _shown(settings: Settings) -> dict[str, str]:
    """The numbers of a recipe as the README shows them: a fit or a step that can be off is one row."""
    shown: dict[str, str] = {}
    for path, value in leaves(settings):
        section, _, field = path.rpartition(".")
        if section.split(".")[0] not in _RECIPE_SECTIONS:
            continue
        if section in ("propagation.refit", "propagation.final_fit"):
            if field == "threshold_px":
                shown[section] = f"{value} px"
        elif section in ("propagation.guided", "propagation.refine"):
            if field == "enabled":
                shown[section] = "on" if value else "off"
        elif section == "propagation" and value is None:
            shown[path] = "off"
        else:
            shown[path] = _value(path, value)
    return shown


def quality_table() -> str:
    """The fields of a pair's quality."""
    comments = _field_comments(PairQuality)
    rows = [[f"`{name}`", text or name.replace("_", " ")] for name, text in comments.items()]
    return markdown_table(["field", "meaning"], rows)


def reasons_table() -> str:
    """Every code that a run can leave, in the report's words."""
    return markdown_table(["code", "meaning"], [[f"`{code}`", reason_of(code).text] for code in _REASONS])


def plan_tables() -> str:
    """The fields of a plan for `gim simulate`, section by section; those of all pods once."""
    hints = typing.get_type_hints(Plan)
    records = {name: _record_of(kind) for name, kind in hints.items()}
    top = {name: text for name, text in _field_comments(Plan).items() if records[name] is None}
    parts = [_plan_table("Top level", "", Plan, top)]
    parts.append(_plan_table("Pods of every stage", "STAGE.", PodsPlan, _own_field_comments(PodsPlan)))
    for name, record in records.items():
        if record is not None:
            section = f"{name}.NAME" if name == "matchers" else name
            title = f"`{section}`: {_first_line(record)}"
            parts.append(_plan_table(title, f"{section}.", record, _own_field_comments(record)))
    return "\n\n".join(part.strip() for part in parts)


def _record_of(kind: Any) -> type[Any] | None:
    return next(
        (part for part in (kind, *typing.get_args(kind)) if isinstance(part, type) and is_dataclass(part)), None
    )


def _plan_table(title: str, prefix: str, record: type[Any], comments: dict[str, str]) -> str:
    rows = [[f"`{prefix}{name}`", _plan_value(getattr(record(), name)), text] for name, text in comments.items()]
    return f"**{title}**\n\n" + markdown_table(["field", "default", "meaning"], rows)


def _plan_value(value: Any) -> str:
    return "to be given" if value is None else f"{value:g}" if isinstance(value, float) else _value("", value)


def exports_part() -> str:
    """The layout of every export format, as the export itself explains it."""
    parts = []
    for name in FORMATS:
        module = importlib.import_module(f"gim.export.{name}")
        summary = (module.__doc__ or "").splitlines()[0].partition(": ")[2]
        parts.append(f"### `{name}`\n\n{summary[0].upper()}{summary[1:]}\n\n```text\n{module.LAYOUT.rstrip()}\n```")
    return "\n\n".join(parts)


def _recipes() -> list[str]:
    return sorted(recipe_names(), key=lambda name: (*_ORDER, name).index(name))


def _sections(record: type[Any], path: str = "") -> Iterator[tuple[str, type[Any]]]:
    yield path, record
    for name, kind in typing.get_type_hints(record).items():
        for part in (kind, *typing.get_args(kind)):
            if is_dataclass(part) and isinstance(part, type):
                yield from _sections(part, f"{path}.{name}".lstrip("."))


def _section_table(section: str, record: type[Any], defaults: dict[str, Any]) -> str:
    comments = _field_comments(record)
    rows = []
    for name, kind in typing.get_type_hints(record).items():
        path = f"{section}.{name}".lstrip(".")
        if path not in setting_types(Settings):
            continue
        default = _value(path, defaults[path]) if path in defaults else "off"
        rows.append([f"`{path}`", default, allowed(kind), comments.get(name, "")])
    return markdown_table(["setting", "default", "allowed", "meaning"], rows)


def _matcher_part(name: str) -> str:
    config = typing.get_type_hints(matcher_class(name).__init__)["config"]
    comments = _field_comments(config)
    values = dict(leaves(config()))
    rows = [
        [f"`matcher.{name}.{field}`", _value(field, values[field]), allowed(kind), comments.get(field, "")]
        for field, kind in typing.get_type_hints(config).items()
    ]
    return f"## `matcher.{name}`\n\n{_first_line(config)}\n\n" + markdown_table(
        ["setting", "default", "allowed", "meaning"], rows
    )


def _recipe_part(name: str) -> str:
    text = (ROOT / "gim" / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    intro = " ".join(line.removeprefix("# ") for line in text.split("\nname", 1)[0].splitlines())
    rows, section = [], ""
    for line in text.splitlines():
        if found := re.fullmatch(r"\[(.+)\]", line.strip()):
            section = found[1]
        elif section and (found := re.fullmatch(r"(\w+)\s*=\s*(.*?)(?:\s+#\s*(.*))?", line.strip())):
            rows.append([f"`{section}.{found[1]}`", found[2].strip('"'), found[3] or ""])
    return f"## `{name}`\n\n{intro}\n\n" + markdown_table(["setting", "value", "where it comes from"], rows)


def _first_line(record: type[Any]) -> str:
    return (inspect.getdoc(record) or "").splitlines()[0]


def _field_comments(record: type[Any]) -> dict[str, str]:
    """The comment beside each field of a dataclass, inherited ones included."""
    records = [base for base in reversed(record.__mro__) if is_dataclass(base)]
    return {name: comment for base in records for name, comment in _own_field_comments(base).items()}


def _own_field_comments(record: type[Any]) -> dict[str, str]:
    source = inspect.getsource(record)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (tree,) = ast.parse(inspect.cleandoc(source)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        node.target.id: " ".join(comments[line] for line in _lines(node) if line in comments)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _value(path: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value) or "(none)"
    if isinstance(value, dict):
        return "(none)"
    if path.endswith("_bytes"):
        return f"{value} ({value / 2**30:g} GiB)"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value) or '""'


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
