"""One assignment to a setting: a dotted path and a value become a checked, typed entry of a tree, or one clear line.

Knows frozen dataclasses and their field types, and nothing of what the settings mean or where they come from: that
is `gim.settings`. pydantic checks the single values.
"""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from gim.errors import ConfigError

Record = TypeVar("Record")

_NONE_WORDS = ("none", "null")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def assign(tree: dict[str, Any], root: type[Any], path: str, value: Any, origin: str) -> None:
    """Check one value against the type its path has in `root` and put it into the nested dictionary `tree`.

    Args:
        tree: explicit values so far; changed in place. `None` stands for an optional record that is switched off.
        root: the record type that `tree` will fill.
        path: names joined by dots, e.g. `propagation.refit.threshold_px`.
        value: text as a person types it (`1,2,4`, `none`, `true`), or a value of a TOML file.
        origin: where it was given, for the message.

    Raises:
        ConfigError: no such setting, or a value of another type; the message names the closest name or what is allowed.
    """
    kind = _type_of(root, path, origin)
    names = path.split(".")
    for name in names[:-1]:
        below = tree.get(name)
        tree[name] = below if isinstance(below, dict) else {}
        tree = tree[name]
    tree[names[-1]] = _convert(kind, path, value, origin)


def typed(sets: Sequence[str]) -> list[tuple[str, str, Any]]:
    """Texts `section.field=value`, as a person types them after `--set`, as (path, origin, value).

    Raises:
        ConfigError: one has no `=`.
    """
    found: list[tuple[str, str, Any]] = []
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected section.field=value")
        found.append((path.strip(), f"--set {path.strip()}", value))  # not its value, which may be a secret
    return found


def flatten(document: Mapping[str, Any], root: type[Any]) -> Iterator[tuple[str, Any]]:
    """The leaves of a nested document as (path, value); a table is entered where `root` has a record or a mapping."""
    for name, value in document.items():
        kind = _fields(root).get(name, Any) if root is not Any else Any
        below = _record(kind)
        if isinstance(value, Mapping) and (below is not None or kind is Any or typing.get_origin(kind) is dict):
            inner = below if below is not None else Any
            if not value and below is not None:
                yield name, value
            for path, leaf in flatten(value, inner):
                yield f"{name}.{path}", leaf
        else:
            yield name, value


def overlay(record: Record, tree: Mapping[str, Any]) -> Record:
    """A copy of a frozen record with the values of a checked tree in place of its own, at every depth."""
    changes = dict(tree)
    for name, value in tree.items():
        kind = _record(_fields(type(record))[name])
        if kind is not None and isinstance(value, dict):
            below = getattr(record, name)
            changes[name] = overlay(kind() if below is None else below, value)
    return dataclasses.replace(record, **changes)  # type: ignore[type-var]


def leaves(record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, value) of a tree of records; an optional record that is off yields (path, None)."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def setting_types(root: type[Any]) -> dict[str, Any]:
    """The type of every setting of a record type by its dotted path, in the order of declaration."""
    found: dict[str, Any] = {}
    for name, kind in _fields(root).items():
        below = _record(kind)
        if below is None:
            found[name] = kind
        else:
            found |= {f"{name}.{path}": inner for path, inner in setting_types(below).items()}
    return found


def allowed(kind: Any) -> str:
    """What a value of this type may be, in words."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return " or ".join("none" if part is type(None) else allowed(part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"{_WORDS.get(typing.get_args(kind)[0], 'values')}, several joined by commas"
    if typing.get_origin(kind) is dict:
        return "a table, set by its entries"
    return _WORDS.get(kind, "a value")


def _type_of(root: type[Any], path: str, origin: str) -> Any:
    kind: Any = root
    for position, name in enumerate(names := path.split(".")):
        record = _record(kind)
        if record is not None and name in _fields(record):
            kind = _fields(record)[name]
        elif typing.get_origin(kind) is dict and name:
            kind = typing.get_args(kind)[1]
        else:
            raise ConfigError(_unknown(root, path, ".".join(names[:position]), origin))
    return kind


def _unknown(root: type[Any], path: str, known: str, origin: str) -> str:
    paths = list(setting_types(root))
    last = path.rpartition(".")[2]
    same_field = [candidate for candidate in paths if candidate.rpartition(".")[2] == last]
    close = same_field or difflib.get_close_matches(path, paths, 1, 0.75)
    fields = [candidate for candidate in paths if candidate.rpartition(".")[0] == known]
    if close:
        hint = f"did you mean {close[0]}?"
    elif known and fields:
        hint = f"{known} has {', '.join(candidate.rpartition('.')[2] for candidate in fields)}"
    else:
        hint = "`gim ls settings` lists them"
    return f"unknown setting {path!r}{_from(origin)}: {hint}"


def _convert(kind: Any, path: str, value: Any, origin: str) -> Any:
    record = _record(kind)
    optional = record is not kind and record is not None
    if isinstance(value, str):
        value = _parse(kind, value)
    if record is not None and not (optional and value is None):
        if value == {}:
            return {}
        example = next(iter(setting_types(record)))
        off = f", or {path}=none" if optional else ""
        raise ConfigError(
            f"setting {path!r}{_from(origin)} is a section: set its fields, e.g. {path}.{example}=...{off}"
        )
    if kind is Any:
        return value
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"setting {path} = {value!r}{_from(origin)}: expected {allowed(kind)}") from error


def _parse(kind: Any, text: str) -> Any:
    if text.strip().lower() in _NONE_WORDS and (kind is Any or type(None) in typing.get_args(kind)):
        return None
    if typing.get_origin(kind) is tuple and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is Any or typing.get_origin(kind) is tuple:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _record(kind: Any) -> type[Any] | None:
    """The record type behind a field type: itself, or the one an optional field holds; None for a plain value."""
    for candidate in (kind, *typing.get_args(kind)):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    return None


def _fields(record: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _from(origin: str) -> str:
    return f" ({origin})" if origin else ""
