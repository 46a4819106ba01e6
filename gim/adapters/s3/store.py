"""The Store as a bucket of an S3 server: MinIO, versitygw, or any other. Plain S3, and no right beyond its use.

An object is there whole or not at all, since S3 shows it only once its last byte has arrived and matches its digest.
"First writer wins" is a conditional PUT (`If-None-Match: *`), decided by the server. Where a server answers that it has
none, the look that precedes it is all there is: of two writers at the same moment, the later one stays.

What passes by itself is tried again here a few times, then it is `Unavailable`, and the worker's to wait for. After
that a write may have happened all the same. One handle serves many threads of one process.

The rights it needs: s3:GetObject, s3:PutObject, s3:DeleteObject (to delete), s3:AbortMultipartUpload on the objects,
s3:ListBucket on the bucket. A process that dies in the middle of a large file leaves parts that no one sees: MinIO
removes them after a day, other servers by a lifecycle rule. Not for keys below a key: MinIO takes `a` and `a/b` both,
and lists `a` only.
"""

import hashlib
import itertools
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from minio.datatypes import Object
from minio.error import S3Error

from gim.adapters.s3.attempts import Attempts
from gim.adapters.s3.client import Client
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.errors import Action, Request, code_of, status_of
from gim.adapters.s3.transfer import DIGEST, WRITER, download, receive, upload, written_by
from gim.errors import ConfigError, DiskFull, InvalidInput, KeyMissing, Unavailable, is_disk_full
from gim.keys import is_key, validate_key, validate_prefix

_PAGE_KEYS = 1000  # S3's largest
_MAX_NAME_CHARACTERS = 128  # of a local copy
_MADE_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


class MinioStore:
    """The Store port over one bucket."""

    def __init__(self, config: S3Config, bucket: str, *, create: bool = False) -> None:
        """Open a bucket. Without `create` nothing is sent: what is amiss shows at the first use.

        Args:
            config: the server, and who we are to it.
            bucket: its name.
            create: make the bucket where there is none.

        Raises:
            ConfigError: the settings are malformed; with `create`, the bucket is neither there nor may be made.
            Unavailable: with `create`, the server cannot be reached.
        """
        self._client = Client(config, bucket)
        self._part_bytes = config.part_bytes
        self._where = f"s3://{bucket} at {config.endpoint}"
        self._attempts = Attempts(config.max_attempts)
        self._has_conditions = True  # until the server says otherwise
        if create:
            try:
                self._make_bucket()
            except BaseException:
                self.close()
                raise

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object; with `if_absent`, only when there is none, and the first of several writers wins.

        Raises:
            InvalidInput: the key is malformed, or collides with a folder of other keys.
            Unavailable: the server is away or full; the object may have been written all the same.
        """
        request = self._request("write", validate_key(key))
        headers = {DIGEST: hashlib.sha256(data).hexdigest()}
        if if_absent:
            return not self.exists(key) and self._put_first(request, data, headers)
        self._attempts.make(request, partial(self._client.put, key, data, headers))
        return True

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a local file, with one part of it in memory.

        Raises:
            InvalidInput: as `put`, or `path` is not a readable file, or it became shorter while it was read.
            Unavailable: as `put`.
        """
        request = self._request("write", validate_key(key))
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size <= self._part_bytes:
                    self.put(key, file.read())
                else:
                    upload(self._client, self._attempts, request, file, size, self._part_bytes, uuid.uuid4().hex)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror or error}") from error

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            KeyMissing: there is none.
            CorruptObject: its bytes are not those that were stored.
            Unavailable: the server is away.
        """
        return self._attempts.make(self._request("read", validate_key(key)), partial(receive, self._client, key))

    @contextmanager
    def fetch(self, key: str) -> Iterator[Path]:
        """A copy of the object in a private folder among the system's temporary files, removed at the end.

        Raises:
            KeyMissing: there is none.
            CorruptObject: its bytes are not those that were stored.
            Unavailable: the server is away, or the disk here is full.
        """
        found = self._stat(key)
        with ExitStack() as leaving:
            with _local_errors():
                folder = leaving.enter_context(tempfile.TemporaryDirectory(prefix="gim-store-"))
                path = Path(folder) / key.rpartition("/")[2][-_MAX_NAME_CHARACTERS:]
                if (found.size or 0) <= self._part_bytes:
                    path.write_bytes(self.get(key))
                else:
                    with path.open("xb+") as file:
                        request = self._request("read", key)
                        download(self._client, self._attempts, request, file, found, self._part_bytes)
                path.chmod(0o400)
            yield path

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        try:
            self._stat(key)
        except KeyMissing:
            return False
        return True

    def size(self, key: str) -> int:
        """Bytes of the object.

        Raises:
            KeyMissing: there is none.
        """
        return self._stat(key).size or 0

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with `prefix`, ascending; one page of them is held at a time."""
        return (str(entry.object_name) for entry in self._entries(validate_prefix(prefix)))

    def usage(self, prefix: str = "") -> int:
        """Bytes of all objects whose keys begin with `prefix`, from the listing."""
        return sum(entry.size or 0 for entry in self._entries(validate_prefix(prefix)))

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        request = self._request("delete", validate_key(key))
        with suppress(KeyMissing):  # some servers say so
            self._attempts.make(request, partial(self._client.remove, key))

    def close(self) -> None:
        """Close the connections; the store is not used afterwards."""
        self._client.close()

    def _request(self, action: Action, key: str = "") -> Request:
        return Request(self._where, action, key)

    def _stat(self, key: str) -> Object:
        return self._attempts.make(self._request("read", validate_key(key)), partial(self._client.stat, key))

    def _put_first(self, request: Request, data: bytes, headers: dict[str, str]) -> bool:
        """Write an object that was not there a moment ago, unless somebody else has written it since."""
        writer, tries = uuid.uuid4().hex, itertools.count(1)

        def put() -> bool:
            is_first_try = next(tries) == 1
            condition = {"If-None-Match": "*"} if self._has_conditions else {}
            try:
                self._client.put(request.key, data, {**headers, **condition, WRITER: writer})
            except S3Error as error:
                if condition and status_of(error) == 501:
                    self._has_conditions = False
                    return put()
                if code_of(error) != "PreconditionFailed":
                    raise
                # The one who was faster may be ourselves: an earlier try whose answer was lost.
                return not is_first_try and written_by(self._client, request.key, writer) is not None
            return True

        return self._attempts.make(request, put)

    def _entries(self, prefix: str) -> Iterator[Object]:
        request, last = self._request("list", prefix), ""
        while True:
            page = self._attempts.make(request, partial(self._client.page, prefix, last, _PAGE_KEYS))
            yield from (entry for entry in page if is_key(str(entry.object_name)))
            if len(page) < _PAGE_KEYS:
                return
            last = str(page[-1].object_name)

    def _make_bucket(self) -> None:
        try:
            self._attempts.make(self._request("make", "the bucket"), self._client.make)
        except ConfigError as error:
            code = code_of(error.__cause__)
            # A key that may not make buckets can use one that is there.
            if code not in _MADE_ALREADY and not (code == "AccessDenied" and self._may_be_there()):
                raise

    def _may_be_there(self) -> bool:
        try:
            self._attempts.make(self._request("list"), partial(self._client.page, "", "", 1))
        except ConfigError as error:
            return code_of(error.__cause__) != "NoSuchBucket"  # or this key sees a part of it only
        return True


@contextmanager
def _local_errors() -> Iterator[None]:
    """Turn what this machine's own disk says into one line of ours."""
    try:
        yield
    except OSError as error:
        kind = DiskFull if is_disk_full(error) else Unavailable
        raise kind(f"{tempfile.gettempdir()}: {error.strerror or error}; TMPDIR names another folder") from error
