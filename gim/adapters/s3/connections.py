"""urllib3's connections, but for answers whose head broke off: those count as broken connections."""

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from gim.transfer.whole_head import WholeHeadResponse


class _Plain(HTTPConnection):
    response_class = WholeHeadResponse


class _Secure(HTTPSConnection):
    response_class = WholeHeadResponse


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


POOLS = {"http": _PlainPool, "https": _SecurePool}  # for a `urllib3.PoolManager`, by scheme
