"""Connections that take the head of an HTTP answer whole or not at all.

Python's own end a head where the connection ends. An answer that broke off in it would be read as one with fewer
headers: an object without the digest of its bytes, or without the name of its writer.
"""

from http.client import HTTPException, HTTPResponse
from typing import BinaryIO

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_END_OF_HEAD = {b"\r\n", b"\n"}


class TornHead(HTTPException):
    """An answer broke off among its headers; urllib3 makes a `ProtocolError` of it, as of a broken connection."""


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


class _Answer(HTTPResponse):
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
            self.close()
            raise TornHead("an answer broke off among its headers")


class _Plain(HTTPConnection):
    response_class = _Answer


class _Secure(HTTPSConnection):
    response_class = _Answer


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class WholeAnswers(urllib3.PoolManager):
    """A pool of such connections."""

    def __init__(self, **settings: object) -> None:
        """Take the settings that urllib3's own manager takes."""
        super().__init__(**settings)  # type: ignore[arg-type]
        self.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
