"""Finds and loads matchers by name: a file `gim/matchers/<name>.py` with exactly one Matcher class IS the registration.

Imports only the file that is asked for, so that a matcher that needs torch costs nothing until it is used.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from gim.errors import ConfigError, UnknownMatcher
from gim.matchers.base import Matcher

_PACKAGE = "gim.matchers"
_FOLDER = Path(__file__).parent
_NOT_MATCHERS = frozenset({"base", "registry", "weights"})


def matcher_names() -> list[str]:
    """Names of all matchers, whether or not they can run here, ascending. Imports none of them."""
    names = (path.stem for path in _FOLDER.glob("*.py"))
    return sorted(name for name in names if not name.startswith("_") and name not in _NOT_MATCHERS)


def matcher_status(name: str) -> str:
    """Why a matcher cannot run here, in one line; empty when it can. Reads the file, imports nothing.

    Raises:
        UnknownMatcher: there is no such file.
    """
    _check_name(name)
    missing = sorted(
        {root for root in _required_packages(f"{_PACKAGE}.{name}", set()) if importlib.util.find_spec(root) is None}
    )
    return f"needs {', '.join(missing)}, not installed" if missing else ""


def matcher_class(name: str) -> type[Matcher]:
    """The one Matcher class of the file `<name>.py`.

    Raises:
        UnknownMatcher: no such file, its requirements are not installed, or it does not hold exactly one such class.
    """
    if reason := matcher_status(name):
        raise UnknownMatcher(f"matcher {name!r} cannot run here: {reason}")
    module = importlib.import_module(f"{_PACKAGE}.{name}")
    classes = [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, Matcher)
        and item.__module__ == module.__name__
        and not inspect.isabstract(item)
    ]
    if len(classes) != 1 or classes[0].name != name:
        found = ", ".join(f"{item.__name__} (name {getattr(item, 'name', None)!r})" for item in classes) or "none"
        raise UnknownMatcher(
            f"{module.__name__} must hold exactly one Matcher class, with name {name!r}; found {found}"
        )
    return classes[0]


def load_matcher(name: str, config: Mapping[str, Any] | None = None) -> Matcher:
    """Build a matcher from its name and any settings that differ from its defaults.

    Raises:
        UnknownMatcher: no matcher of that name, or it cannot run here; the message names close matches.
        ConfigError: a setting the matcher does not have, or a value it cannot take.
    """
    matcher = matcher_class(name)
    return matcher(_validated_config(name, get_type_hints(matcher.__init__)["config"], dict(config or {})))


def _validated_config(name: str, config_type: type[Any], given: dict[str, Any]) -> Any:
    known = [field.name for field in fields(config_type)]
    for key in given:
        if key not in known:
            raise ConfigError(f"matcher {name!r} has no setting {key!r}{_close_matches(key, known)}; it has {known}")
    try:
        return TypeAdapter(config_type).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"matcher {name!r}, setting {where}: {first['msg']}, got {first['input']!r}") from error


def _check_name(name: str) -> None:
    names = matcher_names()
    if name not in names:
        raise UnknownMatcher(f"no matcher {name!r}{_close_matches(name, names)}; there are: {', '.join(names)}")


def _close_matches(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _required_packages(module: str, seen: set[str]) -> Iterator[str]:
    """Top-level packages that importing `module` needs, followed through our own files."""
    if module in seen:
        return
    seen.add(module)
    base = _FOLDER.parent.joinpath(*module.split(".")[1:])
    source = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
    if source is None:
        return
    for imported in _imports(ast.parse(source.read_bytes())):
        root = imported.split(".")[0]
        if root == "gim":
            yield from _required_packages(imported, seen)
        elif root not in sys.stdlib_module_names:
            yield root


def _imports(tree: ast.AST) -> Iterator[str]:
    """Modules imported anywhere in a file, `from x import y` also as `x.y` since y may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
