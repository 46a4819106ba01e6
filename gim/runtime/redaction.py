"""Takes secrets out of what is to be written down: those that are known, and those that URLs and headers carry."""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_MAX_CHARACTERS = 8192  # of one text: container runtimes cut lines at 16 KB, and half a line is no JSON
_MAX_DEPTH = 6
_QUERY_NAMES = (
    r"[\w.-]*(?:sig|signature|token|secret|passw(?:or)?d|credential|access_?key_?id|api[-_]?key)|key|auth|pot"
)
_HEADERS = r"authorization|proxy-authorization|cookie|set-cookie|x-amz-security-token"
_SECRET_NAME = re.compile(rf"password|secret|token|credential|{_HEADERS}", re.IGNORECASE)
_PATTERNS = (
    # user:password@ of a URL
    (re.compile(r"(?<=://)[^/?#@\s]+(?=@)"), HIDDEN),
    # what signs or opens a URL
    (re.compile(rf"([?&;](?:{_QUERY_NAMES})=)[^&;#\s\"'<>\\]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    # headers, also as they stand in the text of a dictionary
    (
        re.compile(rf"\b((?:{_HEADERS})['\"]?\s*:\s*['\"]?)[^\r\n'\"]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)", re.DOTALL), rf"\1{HIDDEN}"),
)  # fmt: skip


class Redactor:
    """Replaces secrets by `***`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know these secrets, also as URLs, JSON, Python and base64 spell them."""
        spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if spellings else None

    def text(self, text: str) -> str:
        """The text without secrets, of bounded length, fit for UTF-8."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if len(text) > _MAX_CHARACTERS:
            half = _MAX_CHARACTERS // 2
            text = f"{text[:half]} [{len(text) - 2 * half} characters] {text[-half:]}"
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same for any value, which becomes one that JSON can hold."""
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            return self.text(value)
        if depth < _MAX_DEPTH and isinstance(value, Mapping):
            return {self.text(str(key)): self._named(str(key), item, depth + 1) for key, item in value.items()}
        if depth < _MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(item, depth + 1) for item in value]
        return self.text(_shown(value))

    def _named(self, name: str, value: Any, depth: int) -> Any:
        is_secret = isinstance(value, str) and value and _SECRET_NAME.search(name)
        return HIDDEN if is_secret else self.value(value, depth)


def _shown(value: Any) -> str:
    try:
        return str(value) if isinstance(value, (Path, BaseException)) else repr(value)
    except Exception as error:  # of a stranger's own making: it must not stop the work that is told of
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _spellings(secret: str) -> Iterable[str]:
    return (
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode().rstrip("="),
    )
