"""One spelling for every http(s) URL, before it is compared, connected to or written down. Resolves nothing."""

import re
from urllib.parse import quote, urlsplit, urlunsplit

from gim.errors import InvalidInput, UnsafeInput

_MAX_CHARACTERS = 8192
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_SAFE = "%/:=&?~#+!$,;'@()*[]-._"  # left as they are; what is percent-encoded stays so


def normalise_url(text: str) -> str:
    """The URL with lower-case scheme and host, IDNA and percent encoding, no default port and no fragment.

    Raises:
        InvalidInput: not http or https, no usable host, a user name inside, or characters that do not belong in a URL.
    """
    if len(text) > _MAX_CHARACTERS or any(character.isspace() or not character.isprintable() for character in text):
        # urllib would drop some of them in silence, and then check one URL and fetch another
        raise UnsafeInput(f"URL {text[:80]!r} is too long or holds white space or control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = _encode_host(parts.hostname or "")
    except ValueError as error:
        raise InvalidInput(f"malformed URL {text[:80]!r} ({error})") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidInput(f"{text[:80]!r}: only http and https URLs can be fetched")
    if "@" in parts.netloc:
        raise InvalidInput(f"URL of host {host!r} holds a user name or password, which would be recorded: leave it out")
    if not _HOST.fullmatch(host):
        raise InvalidInput(f"URL {text[:80]!r} has no valid host name")
    netloc = host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, quote(parts.path or "/", _SAFE), quote(parts.query, _SAFE), ""))


def without_query(url: str) -> str:
    """The URL as far as it can be shown to others: queries carry signatures and tokens."""
    return urlunsplit(urlsplit(url)._replace(query=""))


def _encode_host(host: str) -> str:
    if ":" in host:
        return f"[{host}]"
    return host.encode("idna").decode().lower() if host else ""
