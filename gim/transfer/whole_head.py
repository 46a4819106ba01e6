"""An HTTP response whose head arrives whole or not at all.

Python's own ends a head where the connection ends. An answer that broke off in it would be read as one with fewer
headers: a file without a length, and so an empty one; an object without the digest of its bytes.
"""

from http.client import HTTPException, HTTPResponse
from typing import BinaryIO

_END_OF_HEAD = {b"\r\n", b"\n"}


class TornHead(HTTPException):
    """An answer broke off among its headers."""


class WholeHeadResponse(HTTPResponse):
    """For `response_class` of a connection, which closes it where this raises."""

    def begin(self) -> None:
        """Read the head.

        Raises:
            TornHead: the connection ended in it.
        """
        head = _LastLine(self.fp)
        self.fp = head  # type: ignore[assignment]  # nothing but `readline` is used of it until the head is read
        super().begin()
        self.fp = head.file  # type: ignore[assignment]
        if head.line not in _END_OF_HEAD:
            raise TornHead("an answer broke off among its headers")


class _LastLine:
    """A file that remembers the last line that was read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.line = b""

    def readline(self, limit: int = -1) -> bytes:
        self.line = self.file.readline(limit)
        return self.line

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)
