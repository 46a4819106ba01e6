"""The settings `train.model.*` of a recipe as the record of one architecture."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gim.errors import ConfigError
from gim.spelling import did_you_mean

Record = TypeVar("Record")


def model_settings(record: type[Record], given: Mapping[str, Any], architecture: str) -> Record:
    """A record of an architecture's settings.

    Raises:
        ConfigError: one is not known, or its value is not of its type.
    """
    _check_names(record, given, f"{architecture} has no setting model")
    try:
        return TypeAdapter(record).validate_python(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{architecture}, model.{where}: {first['msg']}, got {first['input']!r}") from error


def _check_names(record: Any, given: Mapping[str, Any], message: str) -> None:
    """Refuse unknown names, also of records within the record: pydantic passes over them."""
    known = {item.name: item.type for item in fields(record)}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"{message}.{name}{did_you_mean(name, known)}; it has {list(known)}")
        if is_dataclass(known[name]) and isinstance(value, Mapping):
            _check_names(known[name], value, f"{message}.{name}")
