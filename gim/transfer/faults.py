"""What the network throws, said in one line with the URL in front, and whether another attempt may help."""

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from gim.errors import InvalidInput, Unavailable
from gim.transfer.limits import TransferLimits
from gim.transfer.urls import without_query

_MAX_CHARACTERS = 120


class TransferFault(Unavailable):
    """A fault that may be gone at the next attempt, which the server may want no earlier than it says."""

    def __init__(self, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@contextmanager
def faults_named(url: str, limits: TransferLimits) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP parsing throw inside the block into the project's errors.

    Raises:
        InvalidInput: the server's certificate is not trusted.
        TransferFault: everything else.
    """
    shown = without_query(url)
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise InvalidInput(f"{shown}: its TLS certificate is not trusted ({error.verify_message})") from error
    except TimeoutError as error:
        raise TransferFault(
            f"{shown}: no answer within {limits.settings}timeout_seconds ({limits.timeout_seconds:g})"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise TransferFault(f"{shown}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return re.sub(r"\s+", " ", text)[:_MAX_CHARACTERS]
