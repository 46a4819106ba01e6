"""Plans as files: those beside this one by name, a user's own by path; `SECTION.FIELD=VALUE` changes single numbers."""

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from gim.assignments import assign, overlay, setting_types
from gim.errors import ConfigError
from gim.simulation.plan import MatcherPlan, Plan
from gim.spelling import did_you_mean

_FOLDER = resources.files("gim.simulation") / "plans"


def plan_names() -> list[str]:
    """The plans that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def read_plan(plan: str, sets: Sequence[str] = ()) -> Plan:
    """A plan with its numbers checked one by one; whether all are there is `Plan.check`'s to say.

    Args:
        plan: a name, or the path of a TOML file.
        sets: `section.field=value` texts, in order; of a matcher `matchers.NAME.field=value`.

    Raises:
        ConfigError: there is no such plan, it cannot be read, a name is unknown, or a value malformed.
    """
    document = tomllib.loads(_text(plan)) if _is_name(plan) else _document(Path(plan))
    entries = [(path, f"plan {plan}", value) for path, value in _leaves(document)]
    matchers = {name for name in document.get("matchers", {}) if isinstance(document["matchers"][name], Mapping)}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected section.field=value")
        entries.append((path.strip(), f"--set {path.strip()}", value))
    return _made(entries, sorted(matchers))


def _made(entries: Sequence[tuple[str, str, Any]], matchers: Sequence[str]) -> Plan:
    tree: dict[str, Any] = {}
    of_matchers: dict[str, dict[str, Any]] = {name: {} for name in matchers}
    known = [path for path in setting_types(Plan) if not path.startswith("matchers.")]
    of_matcher = list(setting_types(MatcherPlan))
    for path, origin, value in entries:
        if path.startswith("matchers."):
            name, _, field = path.removeprefix("matchers.").rpartition(".")
            _refuse_unknown(name, origin, "matcher", matchers)
            _refuse_unknown(field, origin, "field", of_matcher)
            assign(of_matchers[name], MatcherPlan, field, value, origin)
        else:
            _refuse_unknown(path, origin, "field", known)
            assign(tree, Plan, path, value, origin)
    made = {name: overlay(MatcherPlan(), changes) for name, changes in of_matchers.items()}
    return dataclasses.replace(overlay(Plan(), tree), matchers=made)


def _refuse_unknown(name: str, origin: str, what: str, known: Sequence[str]) -> None:
    if name not in known:
        all_of_them = f": it has {', '.join(known)}" if what == "matcher" and known else ""
        raise ConfigError(f"{origin}: the plan has no {what} {name!r}{did_you_mean(name, known)}{all_of_them}")


def _is_name(plan: str) -> bool:
    return "/" not in plan and not plan.endswith(".toml")


def _text(name: str) -> str:
    names = plan_names()
    if name not in names:
        raise ConfigError(
            f"unknown plan {name!r}{did_you_mean(name, names)}: one of {', '.join(names)}, or the path of a .toml file"
        )
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"plan {path}: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"plan {path}: not TOML ({error})") from error


def _leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
