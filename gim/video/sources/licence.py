"""Decides from a licence's text whether a remote video may be taken. Knows nothing of where the text comes from.

A filter, not a lawyer: what it cannot read as a clear yes is refused, with a word on how to allow it.
"""

import json
import re
import shlex
from collections.abc import Sequence

from gim.errors import LicenceRefused
from gim.video.config import SourceConfig

UNKNOWN = "unknown"
LOCAL = "local"

_WORD = re.compile(r"[^\W_]+")
# A phrase that denies in form, but is part of a licence's own vocabulary.
_HARMLESS = (
    *("non commercial", "no commercial", "no derivatives", "no derivative works", "no derivs"),
    *("no additional restrictions", "no rights reserved", "no known copyright", "no copyright"),
)
_DENIALS = (
    *("not", "no", "non", "never", "without", "except", "nor", "neither", "isn t", "aren t", "formerly", "revoked"),
    *("expired", "unlicensed", "forbidden", "prohibited", "all rights reserved", "standard youtube"),
)


def is_allowed(licence: str, phrases: Sequence[str]) -> bool:
    """Whether the text holds an allowed phrase as whole words, and nothing else in it takes that back.

    Case, punctuation and dashes do not count: `cc by` finds `CC-BY 4.0`, not `soccer by`. CC BY-NC and CC BY-ND are
    Creative Commons and pass; "not Creative Commons" and "Creative Commons, all rights reserved" do not.
    """
    words = _words(licence)
    for phrase in phrases:
        wanted = _words(phrase)
        if wanted and _contains(words, wanted):
            rest = _without(words, wanted)
            for harmless in _HARMLESS:
                rest = _without(rest, _words(harmless))
            if not any(_contains(rest, _words(denial)) for denial in _DENIALS):
                return True
    return False


def check_licence(name: str, licence: str, config: SourceConfig) -> None:
    """Return when the settings allow a remote video under this licence.

    Args:
        name: what the message calls the video.
        licence: the text as seen, or `unknown`.
        config: the allowed phrases, and whether an unknown licence is accepted.

    Raises:
        LicenceRefused: they do not; the message says what was found and how to allow it.
    """
    if licence == UNKNOWN:
        if not config.allow_unknown_licence:
            raise LicenceRefused(
                f"{name}: no licence is stated; allow it with --set source.allow_unknown_licence=true, "
                'or state the one you know of: SOURCE licence="CC BY 4.0"'
            )
        return
    if not is_allowed(licence, config.allow_licences):
        shown = "".join(filter(str.isprintable, " ".join(licence.split())))[:80]
        setting = f"source.allow_licences={json.dumps([shown.lower()], ensure_ascii=False)}"
        advice = f"--set {shlex.quote(setting)}"  # it will be pasted into a shell, and the text is a stranger's
        raise LicenceRefused(
            f"{name}: its licence {shown!r} is not among source.allow_licences; allow it with {advice}"
        )


def _words(text: str) -> tuple[str, ...]:
    spelled = text.casefold().replace("creativecommons", "creative commons").replace("noncommercial", "non commercial")
    return tuple(_WORD.findall(spelled))


def _contains(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


def _without(words: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    position = 0
    while position < len(words):
        if words[position : position + len(wanted)] == wanted:
            position += len(wanted)
        else:
            kept.append(words[position])
            position += 1
    return tuple(kept)
