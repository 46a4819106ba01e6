"""Reads which metrics and labels a query of Prometheus names. No grammar: words, and what stands beside them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_WORDS = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<range>\[[^\]]*\])
    |(?P<number>(?<![\w:])(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:ms|[smhdwy])?|Inf|NaN)(?![\w:]))
    |(?P<word>[A-Za-z_:][\w:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
    |(?P<space>\s+)""",
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


@dataclass
class Named:
    """What a query names."""

    # Metrics, each with label -> sign and value.
    selectors: list[tuple[str, dict[str, tuple[str, str]]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)  # labels after by, on, ...
    made: set[str] = field(default_factory=set)  # labels that label_replace makes
    kept: set[str] | None = None  # labels that are left by the outermost `by`; None: the query is none

    @property
    def metrics(self) -> set[str]:
        return {metric for metric, _ in self.selectors}


def words(query: str) -> Iterator[tuple[str, str]]:
    """Kind and text of every word. Raises ValueError at what is none."""
    place = 0
    while place < len(query):
        found = _WORDS.match(query, place)
        if found is None:
            raise ValueError(f"{query}: {query[place : place + 20]!r} is no PromQL")
        if found.lastgroup != "space":
            yield found.lastgroup, found[0]
        place = found.end()


def read(query: str) -> Named:
    """What a query names. Raises ValueError where brackets do not match or something is no PromQL."""
    tokens, named, place = list(words(query)), Named(), 0
    depth = 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "sign":
            depth += (text in "({") - (text in ")}")
            if depth < 0:
                raise ValueError(f"{query}: a bracket too many")
        if kind != "word" or text in _OPERATORS:
            place += 1
            continue
        if text in _GROUPING:
            labels, after = _list(tokens, place + 1)
            named.grouped |= labels
            if text == "by" and depth == 0 and named.kept is None:
                named.kept = labels
            place = after
        elif following == "(" or following in _GROUPING:  # a function, or an aggregation
            if text == "label_replace":
                named.made.add(_destination(tokens, place))
            place += 1
        elif following == "{":
            labels, place = _matchers(tokens, place + 2)
            named.selectors.append((text, labels))
        else:
            named.selectors.append((text, {}))
            place += 1
    if depth:
        raise ValueError(f"{query}: a bracket too few")
    return named


def _list(tokens: list[tuple[str, str]], place: int) -> tuple[set[str], int]:
    """The words of `(a, b)`, and where it ends; none where no bracket follows (group_left)."""
    if place >= len(tokens) or tokens[place][1] != "(":
        return set(), place
    end = next(at for at in range(place, len(tokens)) if tokens[at][1] == ")")
    return {text for kind, text in tokens[place:end] if kind == "word"}, end + 1


def _matchers(tokens: list[tuple[str, str]], place: int) -> tuple[dict[str, tuple[str, str]], int]:
    labels = {}
    while tokens[place][1] != "}":
        if tokens[place][1] == ",":
            place += 1
            continue
        (_, name), (_, sign), (kind, value) = tokens[place : place + 3]
        if sign not in ("=", "!=", "=~", "!~") or kind != "string":
            raise ValueError(f"{name} {sign} {value} is no matcher")
        labels[name] = (sign, value[1:-1])
        place += 3
    return labels, place + 1


def _destination(tokens: list[tuple[str, str]], place: int) -> str:
    """The label that label_replace makes: the first string at its own depth."""
    depth = 0
    for kind, text in tokens[place + 1 :]:
        depth += (text in ("(", "{")) - (text in (")", "}"))
        if kind == "string" and depth == 1:
            return text[1:-1]
    raise ValueError("label_replace without a label")
