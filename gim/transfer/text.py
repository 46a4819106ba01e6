"""Tells text from data by the first bytes: a page, a list or a script is never what was asked for."""

import codecs


def describe_text(head: bytes) -> str:
    """What kind of text a file begins with; empty when it does not begin with text."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # a character cut at the end is fine
    except UnicodeDecodeError:
        return ""
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return ""
    start = text.lstrip().lower()
    if start.startswith("#extm3u"):
        return "a list of other addresses (HLS)"
    if "<mpd" in start:
        return "a list of other addresses (DASH)"
    return "a web page" if start.startswith("<") else "text"
