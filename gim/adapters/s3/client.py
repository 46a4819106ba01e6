"""One S3 server as this process reaches it: its address, its certificate, our keys, a bounded pool of connections.

The environment's proxies are not used: a store is a server of one's own network, and a proxy in between would hold
whole videos. Redirects are not followed: they would carry signed requests to other hosts. Nothing is tried again here.
"""

import ssl
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.datatypes import Object, Part
from minio.error import S3Error
from minio.helpers import check_bucket_name
from urllib3.response import BaseHTTPResponse

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.connections import POOLS
from gim.adapters.s3.errors import TornBody
from gim.adapters.secret_file import read_secret
from gim.errors import ConfigError

MIN_PART_BYTES = 5 * 2**20  # S3's rule, for all parts but the last
_MAX_PART_BYTES = 5 * 2**30
_REASON_HEADER = "x-minio-error-code"  # MinIO's word on a HEAD, whose answer has no body


class Client(Minio):
    """minio-py for one bucket, with what it has no words for: conditional writes and uploads part by part."""

    def __init__(self, config: S3Config, bucket: str) -> None:
        """Prepare to talk; nothing is sent yet.

        Raises:
            ConfigError: the settings are malformed or name unreadable files.
        """
        host, is_secure = _address(config.endpoint)
        if not MIN_PART_BYTES <= config.part_bytes <= _MAX_PART_BYTES:
            raise ConfigError(f"s3.part_bytes = {config.part_bytes}: S3 takes parts of 5 MiB to 5 GiB")
        if config.max_attempts < 1:
            raise ConfigError(f"s3.max_attempts = {config.max_attempts}: expected at least 1")
        self.bucket = bucket
        self.pool = urllib3.PoolManager(
            maxsize=config.connections,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=config.connect_timeout_seconds, read=config.read_timeout_seconds),
            ssl_context=_trust(config.ca_file) if is_secure else None,
        )
        self.pool.pool_classes_by_scheme = POOLS
        try:
            check_bucket_name(bucket, strict=True)
            super().__init__(
                endpoint=host,
                access_key=_secret("access_key", config.access_key, config.access_key_file),
                secret_key=_secret("secret_key", config.secret_key, config.secret_key_file),
                secure=is_secure,
                region=config.region,
                http_client=self.pool,
            )
        except ValueError as error:  # of the bucket's name, the endpoint or the region
            raise ConfigError(f"s3://{bucket} at {config.endpoint}: {error}") from error

    def make(self) -> None:
        """Make the bucket."""
        self.make_bucket(bucket_name=self.bucket)

    def stat(self, key: str) -> Object:
        """Size and metadata of an object, by HEAD. A refusal says why, as that of a GET does."""
        try:
            return self.stat_object(bucket_name=self.bucket, object_name=key)
        except S3Error as error:
            if reason := error.response.headers.get(_REASON_HEADER):
                raise error.copy(code=reason, message=reason) from error
        # Is it the object that is missing, or the bucket; the right that is missing, or a good key? A GET needs the
        # same right, and its refusal has a body.
        response = self.open(key)
        response.close()
        response.release_conn()
        return self.stat_object(bucket_name=self.bucket, object_name=key)  # it came into being just now

    def open(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> BaseHTTPResponse:
        """An object's bytes, to be read; with `etag`, only of this version of it."""
        headers: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{etag}"'} if etag else {}
        return self.get_object(
            bucket_name=self.bucket, object_name=key, offset=offset, length=length, request_headers=headers
        )

    def page(self, prefix: str, after: str, count: int) -> list[Object]:
        """At most `count` objects below a prefix whose keys come after `after`, in order."""
        found = self.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=True, start_after=after or None)
        return [entry for _, entry in zip(range(count), found, strict=False)]

    def put(self, key: str, data: bytes, headers: dict[str, str]) -> None:
        """Write an object in one request. The server compares the bytes with their digest, which goes along."""
        self._execute(
            method="PUT", bucket_name=self.bucket, object_name=key, body=data, headers={**headers}, no_body_trace=True
        )

    def begin_upload(self, key: str, headers: dict[str, str]) -> str:
        """Begin an object of several parts; returns the upload's id."""
        return self._create_multipart_upload(bucket_name=self.bucket, object_name=key, headers={**headers})

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> Part:
        """Send one part, again if need be: the last of the same number counts."""
        etag = self._upload_part(
            bucket_name=self.bucket, object_name=key, data=data, headers=None, upload_id=upload, part_number=number
        )
        return Part(part_number=number, etag=etag)

    def finish_upload(self, key: str, upload: str, parts: list[Part]) -> None:
        """Make the object of its parts, at once."""
        done = self._complete_multipart_upload(bucket_name=self.bucket, object_name=key, upload_id=upload, parts=parts)
        if not done.etag:  # begun with 200, ended with an error
            raise TornBody("the server could not put the parts together")

    def abort_upload(self, key: str, upload: str) -> None:
        """Give the parts up."""
        self._abort_multipart_upload(bucket_name=self.bucket, object_name=key, upload_id=upload)

    def remove(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        self.remove_object(bucket_name=self.bucket, object_name=key)

    def close(self) -> None:
        """Close the connections; those in use close when they come back."""
        self.pool.clear()


def _address(endpoint: str) -> tuple[str, bool]:
    if not endpoint:
        raise ConfigError("no S3 server: set s3.endpoint, as in GIM_S3__ENDPOINT=http://localhost:9000")
    url = urlsplit(endpoint)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path.strip("/") or url.query or "@" in url.netloc:
        raise ConfigError("s3.endpoint: expected http://HOST:PORT or https://HOST:PORT and nothing else")
    return url.netloc, url.scheme == "https"


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"s3.ca_file {ca_file}: {error.strerror or error}: expected certificates as PEM") from error


def _secret(name: str, value: str, file: str) -> str:
    if file:
        value = read_secret(f"s3.{name}_file", file).strip()
    if not value:
        raise ConfigError(f"s3.{name} is empty: set s3.{name}_file, or s3.{name}")
    return value
