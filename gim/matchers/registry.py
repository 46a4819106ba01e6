"""Finds and loads matchers by name: a file `gim/matchers/<name>.py` with exactly one Matcher class IS the registration.

Imports only the file that is asked for, so that a matcher that needs torch costs nothing until it is used. A name
`vismatch:<model>` leads over the bridge to the user's package of that name, `run:<id>@<step>` to weights that a run of
training has made; its settings say to which matcher they belong.
"""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast, get_type_hints

from gim.errors import ConfigError, UnknownMatcher
from gim.matchers.base import Matcher
from gim.matchers.bridges import trained, vismatch
from gim.matchers.network import ModelResources, NetworkMatcher
from gim.python_parser import parse_source
from gim.spelling import did_you_mean

_NO_RESOURCES = ModelResources()
_PACKAGE = "gim.matchers"
_FOLDER = Path(__file__).parent
_NOT_MATCHERS = frozenset({"base", "network", "registry"})
_MODELS_EXTRA = frozenset({"kornia", "safetensors", "torch", "torchvision"})  # as in pyproject.toml
_HOW_TO_INSTALL = ": `make models`, or pip install 'gim-pipeline[models]'"
_MOST_SHOWN = 30  # names in one message


def matcher_names() -> list[str]:
    """Names of all matchers of the package, whether or not they can run here, ascending. Imports none of them."""
    names = (path.stem for path in _FOLDER.glob("*.py"))
    return sorted(name for name in names if not name.startswith("_") and name not in _NOT_MATCHERS)


def matcher_status(name: str, config: Mapping[str, Any] | None = None) -> str:
    """Why a matcher cannot run here, in one line; empty when it can. Reads the file, imports nothing.

    Args:
        name: a file of `gim/matchers/`, or a name that leads over a bridge.
        config: its own settings; only a run's weights need them.

    Raises:
        UnknownMatcher: there is no such file, or the package behind a bridge is here and has no such model.
    """
    if is_trained(name):
        return matcher_status(trained.matcher_behind(name, config))
    if is_bridged(name):
        if reason := vismatch.vismatch_status():
            return reason
        _check_name(name, bridged_names())
        return ""
    _check_name(name, matcher_names())
    required = _required_packages(f"{_PACKAGE}.{name}", set())
    missing = {root for root in required if importlib.util.find_spec(root) is None}
    if not missing:
        return ""
    return f"needs {', '.join(sorted(missing))}, not installed{_HOW_TO_INSTALL if missing & _MODELS_EXTRA else ''}"


def is_bridged(name: str) -> bool:
    """Whether a name leads over a bridge to a package of the user's."""
    return name.startswith(vismatch.PREFIX)


def is_trained(name: str) -> bool:
    """Whether a name stands for weights that a run of training has made."""
    return name.startswith(trained.PREFIX)


def bridged_names() -> list[str]:
    """Names of the matchers behind bridges, as many as the installed packages have."""
    return [f"{vismatch.PREFIX}{model}" for model in vismatch.vismatch_models()]


def matcher_class(name: str, config: Mapping[str, Any] | None = None) -> type[Matcher]:
    """The one Matcher class of the file `<name>.py`, or the one behind a bridge.

    Args:
        name: see `matcher_status`.
        config: its own settings; only a run's weights need them.

    Raises:
        UnknownMatcher: no such file, its requirements are not installed, or it does not hold exactly one such class.
    """
    if reason := matcher_status(name, config):
        raise UnknownMatcher(f"matcher {name!r} cannot run here: {reason}")
    return described_class(name, config)


def described_class(name: str, config: Mapping[str, Any] | None = None) -> type[Matcher]:
    """The class of a matcher that need not be able to run here: its file imports none of what it runs on.

    Raises:
        UnknownMatcher: no such file, it cannot be imported, or it does not hold exactly one such class.
    """
    if is_trained(name):
        return trained.trained_class(name, described_class(trained.matcher_behind(name, config)))
    if is_bridged(name):
        return vismatch.vismatch_class(name.removeprefix(vismatch.PREFIX))
    _check_name(name, matcher_names())
    try:
        module = importlib.import_module(f"{_PACKAGE}.{name}")
    except ImportError as error:
        raise UnknownMatcher(f"matcher {name!r}: its file cannot be imported: {error}") from error
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


def load_matcher(
    name: str, config: Mapping[str, Any] | None = None, resources: ModelResources = _NO_RESOURCES
) -> Matcher:
    """Build a matcher from its name and any settings that differ from its defaults.

    Args:
        name: a file of `gim/matchers/`, `vismatch:<model>`, or `run:<id>@<step>` that has been looked up.
        config: its own settings, those that differ from the defaults.
        resources: weights and device, for matchers that are networks.

    Raises:
        UnknownMatcher: no matcher of that name, or it cannot run here; the message names close matches.
        ConfigError: a setting the matcher does not have, or a value it cannot take.
        InvalidInput, Unavailable, LicenceRefused: its weights; see `gim.weights.files.find_weights`.
    """
    matcher = matcher_class(name, config)
    checked = _validated_config(name, config_class(matcher), _own(name, config))
    return matcher(checked, resources) if issubclass(matcher, NetworkMatcher) else matcher(checked)


def weight_names(name: str, config: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The weights a matcher asks for under its settings, without looking for them; none where it is no network.

    Raises:
        UnknownMatcher, ConfigError: as for `load_matcher`.
    """
    return weights_of(name, matcher_class(name, config), config)


def weights_of(name: str, matcher: type[Matcher], config: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The same of a class, which need not be able to run here.

    Raises:
        ConfigError: as for `load_matcher`.
    """
    checked = _validated_config(name, config_class(matcher), _own(name, config))
    return matcher.weight_names(checked) if issubclass(matcher, NetworkMatcher) else ()


def config_class(matcher: type[Matcher]) -> type[Any]:
    """The configuration record of a matcher."""
    return cast("type[Any]", get_type_hints(matcher.__init__)["config"])


def _own(name: str, config: Mapping[str, Any] | None) -> dict[str, Any]:
    return trained.without_matcher(config) if is_trained(name) else dict(config or {})


def _validated_config(name: str, config_type: type[Any], given: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - a third of the import, and names need none

    known = [field.name for field in fields(config_type)]
    for key in given:
        if key not in known:
            hint = did_you_mean(key.lower(), known)
            raise ConfigError(f"matcher {name!r} has no setting {key!r}{hint}; it has {known}")
    try:
        return TypeAdapter(config_type).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"matcher {name!r}, setting {where}: {first['msg']}, got {first['input']!r}") from error


def _check_name(name: str, names: list[str]) -> None:
    if name not in names:
        shown = ", ".join(names) if len(names) <= _MOST_SHOWN else f"{len(names)}, see `gim ls matchers`"
        raise UnknownMatcher(f"no matcher {name!r}{did_you_mean(name.lower(), names)}; there are: {shown}")


def _required_packages(module: str, seen: set[str]) -> Iterator[str]:
    """Top-level packages that importing `module` needs, followed through our own files."""
    if module in seen:
        return
    seen.add(module)
    base = _FOLDER.parent.joinpath(*module.split(".")[1:])
    source = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
    if source is None:
        return
    for imported in _imports(parse_source(source)):
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
