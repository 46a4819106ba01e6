"""Whole objects and files larger than memory, up and down: in parts that are tried again one by one."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedRandom
from typing import BinaryIO

from minio.datatypes import Object, Part
from minio.error import S3Error
from urllib3.response import BaseHTTPResponse

from gim.adapters.s3.attempts import Attempts
from gim.adapters.s3.client import Client
from gim.adapters.s3.errors import FAILURES, Request, SpoiltBody, TornBody, code_of, translated
from gim.errors import InvalidInput

DIGEST = "x-amz-meta-gim-sha256"  # of an object's bytes, where they were in hand when it was written
WRITER = "x-amz-meta-gim-writer"  # another one for each call: tells whose write is there
_MAX_PARTS = 10_000  # S3's rule
_BLOCK_BYTES = 2**20


def written_by(client: Client, key: str, writer: str) -> Object | None:
    """What is known of an object, if it is there and this writer's."""
    try:
        found = client.stat(key)
    except S3Error as error:
        if code_of(error) == "NoSuchKey":
            return None
        raise
    return found if (found.metadata or {}).get(WRITER) == writer else None


def upload(
    client: Client, attempts: Attempts, request: Request, file: BinaryIO, size: int, part_bytes: int, writer: str
) -> None:
    """Send a file part by part; the object appears when the last one is there.

    Args:
        client: where to.
        attempts: how often each part is tried.
        request: the key, and how to speak of it.
        file: at its beginning.
        size: of the file, bytes.
        part_bytes: of a part, unless they would be too many.
        writer: a number that no other call has.

    Raises:
        InvalidInput: the file turned out shorter.
        GimError: what the server said; the parts are removed.
    """
    key, part_bytes = request.key, max(part_bytes, -(-size // _MAX_PARTS))
    number = attempts.make(request, partial(client.begin_upload, key, {WRITER: writer}))
    try:
        parts: list[Part] = []
        for start in range(0, size, part_bytes):
            data = _read(file, min(part_bytes, size - start))
            parts.append(attempts.make(request, partial(client.put_part, key, number, len(parts) + 1, data)))
            del data  # or two of them are held while the next one is read
        attempts.make(request, partial(_finish, client, key, number, parts, size, writer))
    except BaseException:  # an interrupt as well: nobody else knows of the parts
        with suppress(*FAILURES):
            client.abort_upload(key, number)
        raise


def download(
    client: Client, attempts: Attempts, request: Request, file: BufferedRandom, found: Object, part_bytes: int
) -> None:
    """Receive an object into a file part by part.

    Args:
        client: where from.
        attempts: how often each part is tried.
        request: the key, and how to speak of it.
        file: empty; readable too.
        found: what `client.stat` says of the object.
        part_bytes: of a part.

    Raises:
        CorruptObject: its bytes are not those that were stored.
        GimError: what the server said.
    """
    size = found.size or 0
    for start in range(0, size, part_bytes):
        length = min(part_bytes, size - start)
        attempts.make(request, partial(_receive_part, client, request.key, file, start, length, found.etag or ""))
    file.seek(0)
    expected = (found.metadata or {}).get(DIGEST)
    if expected and hashlib.file_digest(file, "sha256").hexdigest() != expected:
        raise translated(SpoiltBody(), request)


def receive(client: Client, key: str) -> bytes:
    """A whole object, in one answer of the length and the digest that are due.

    Raises:
        TornBody: it broke off, or came spoilt.
    """
    response = client.open(key)
    with _released(response):
        data = bytes(response.read(decode_content=False))
    is_chunked = "transfer-encoding" in response.headers
    if not is_chunked and response.headers.get("content-length") != str(len(data)):
        raise TornBody("an answer broke off")
    if response.headers.get(DIGEST, "") not in {"", hashlib.sha256(data).hexdigest()}:
        raise SpoiltBody
    return data


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise InvalidInput(f"{file.name}: it became shorter while it was read")
    return data


def _finish(client: Client, key: str, number: str, parts: list[Part], size: int, writer: str) -> None:
    lost: S3Error | None = None
    try:
        client.finish_upload(key, number, parts)
    except S3Error as error:
        if code_of(error) != "NoSuchUpload":
            raise
        lost = error  # unless an earlier attempt came through and only its answer did not
    found = written_by(client, key, writer)
    if found is None and lost is not None:
        raise lost
    if found is not None and found.size != size:
        raise TornBody(f"the server has {found.size} of {size} bytes")


def _receive_part(client: Client, key: str, file: BufferedRandom, start: int, length: int, etag: str) -> None:
    file.seek(start)
    try:
        response = client.open(key, offset=start, length=length, etag=etag)
    except S3Error as error:
        if code_of(error) in {"PreconditionFailed", "InvalidRange"}:
            raise TornBody("the object was overwritten while it was read") from error
        raise
    with _released(response):
        file.writelines(response.stream(_BLOCK_BYTES, decode_content=False))
    if file.tell() != start + length:
        raise TornBody("an answer of another length than was asked for")


@contextmanager
def _released(response: BaseHTTPResponse) -> Iterator[None]:
    """Give the connection back: to the pool when all was read, else it is closed."""
    try:
        yield
    except BaseException:
        response.close()
        raise
    finally:
        response.release_conn()
