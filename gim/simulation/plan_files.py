"""Plans as files: those beside this one by name, a user's own by path; `SECTION.FIELD=VALUE` changes single numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from gim import toml_files
from gim.assignments import assign, flatten, overlay, setting_types, typed
from gim.errors import ConfigError
from gim.simulation.plan import MatcherPlan, Plan
from gim.spelling import did_you_mean

_FOLDER = resources.files("gim.simulation") / "plans"


def plan_names() -> list[str]:
    """The plans that come with the package."""
    return toml_files.names_in(_FOLDER)


def read_plan(plan: str, sets: Sequence[str] = ()) -> Plan:
    """A plan with its numbers checked one by one; whether all are there is `Plan.check`'s to say.

    Args:
        plan: a name, or the path of a TOML file.
        sets: `section.field=value` texts, in order; of a matcher `matchers.NAME.field=value`.

    Raises:
        ConfigError: there is no such plan, it cannot be read, a name is unknown, or a value malformed.
    """
    document, anything = toml_files.read_given(plan, _FOLDER, "plan"), Any
    entries = [(path, f"plan {plan}", value) for path, value in flatten(document, anything)]
    matchers = {name for name in document.get("matchers", {}) if isinstance(document["matchers"][name], Mapping)}
    return _made([*entries, *typed(sets)], sorted(matchers))


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
