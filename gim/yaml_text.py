"""Plain dictionaries as YAML that reads like what a person writes. Reads none; the main job has no library for it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # of YAML 1.1, which are no texts there
# JSON's texts are YAML's too, but for what YAML takes for the end of a line, or does not take at all.
_UNESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def yaml_text(documents: Iterable[Mapping[str, Any]]) -> str:
    """Documents of mappings, lists, texts, whole numbers and truth values.

    Args:
        documents: each with texts as names.
    """
    return "---\n".join("".join(f"{line}\n" for line in _lines(document)) for document in documents)


def _lines(value: Any) -> Iterator[str]:
    """A mapping or a list that holds something, in lines."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if _is_short(inner):
                yield f"{_scalar(name)}: {_scalar(inner)}"
            else:
                yield f"{_scalar(name)}:"
                yield from (f"  {line}" for line in _lines(inner))
        return
    for inner in value:
        if _is_short(inner):
            yield f"- {_scalar(inner)}"
        else:
            first, *others = _lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)


def _is_short(value: Any) -> bool:
    return not isinstance(value, (Mapping, list)) or not value


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return _UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
