"""Ask an HTTP server a question, where not being answered is an answer too."""

import http.client
from urllib.parse import urlsplit


def http_status(url: str, timeout_seconds: float = 5.0) -> int | None:
    """The status that a GET of the URL gets, or None where nobody answers. No proxy is asked: these are local."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
