"""What an S3 server or the way to it says, in our words: which refusals pass by themselves, and what each means."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, LocationParseError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswer

from gim.errors import ConfigError, CorruptObject, DiskFull, GimError, InvalidInput, KeyMissing, Unavailable

Action = Literal["read", "write", "delete", "list", "make"]


class TornBody(Exception):
    """An answer broke off."""


class SpoiltBody(TornBody):
    """The bytes of an answer are not those that were stored."""


# All that the calls of `Client` raise when something is amiss out there.
FAILURES = (MinioException, HTTPError, ParseError, UnicodeDecodeError, TornBody)

_PASSING_CODES = {
    "BadDigest",  # the bytes were spoilt on their way up, and the server saw it
    "ConditionalRequestConflict",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeTooSkewed",  # signed before this machine slept; if the clock is off, it stays so
    "RequestTimeout",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
_LOST_CODES = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}  # the server threw the parts of an upload away
_FULL_CODES = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage"}
_NAME_CODES = {"KeyTooLongError", "XMinioInvalidObjectName", "InvalidObjectName"}
_FOLDER_CODES = {"ObjectParentIsFile", "ExistingObjectIsDirectory", "XMinioParentIsObject"}
_REGION_CODES = {"AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "IllegalLocationConstraintException"}

_RIGHTS: dict[Action, str] = {
    "read": "s3:GetObject, and s3:ListBucket, without which a missing object looks forbidden",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
    "list": "s3:ListBucket",
    "make": "s3:CreateBucket",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of a server, for the messages."""

    where: str  # the bucket and its server
    action: Action
    key: str = ""  # or prefix


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, MinioException):
        status, code = status_of(error), code_of(error)
        return code in _PASSING_CODES or status in {408, 429} or (status >= 500 and not _is_final(status, code))
    if isinstance(error, SSLError):
        return not _is_distrust(error) and not _is_plain(error)
    return isinstance(error, FAILURES) and not isinstance(error, LocationParseError)


def code_of(error: BaseException | None) -> str:
    """S3's name of a refusal, or nothing."""
    return (error.code or "") if isinstance(error, S3Error) else ""


def status_of(error: BaseException) -> int:
    """The HTTP status of a refusal, or 0."""
    if isinstance(error, S3Error):
        return error.response.status
    if isinstance(error, ServerError):
        return error.status_code
    return error._code if isinstance(error, InvalidResponseError) else 0  # noqa: SLF001 - it has no other name


def translated(error: Exception, request: Request) -> GimError:
    """The error of ours that says what happened to a request, in one line without secrets."""
    if isinstance(error, S3Error):
        return _refusal(error, request)
    where = request.where
    if isinstance(error, SpoiltBody):
        return CorruptObject(f"{request.key}: its bytes are not those that were stored, in {where}")
    if isinstance(error, SSLError) and _is_distrust(error):
        return ConfigError(f"{where}: its certificate is not trusted: set s3.ca_file to that of its authority")
    if isinstance(error, SSLError) and _is_plain(error):
        return ConfigError(f"{where}: it speaks no TLS: is s3.endpoint http://?")
    if isinstance(error, LocationParseError):
        return ConfigError(f"{where}: no such address: check s3.endpoint")
    status = status_of(error)
    if status and not is_passing(error):
        return ConfigError(f"{where}: it does not answer as S3 does (HTTP {status}): check s3.endpoint")
    return Unavailable(f"{where}: {_trouble(error, status)}; could not {request.action} {request.key}".rstrip())


def _refusal(error: S3Error, request: Request) -> GimError:
    where, code, status = request.where, code_of(error), status_of(error)
    if code in _FULL_CODES or status == 507:
        return DiskFull(f"{where}: the server is full ({code}): free some space there")
    if code == "NoSuchKey":
        return KeyMissing(f"{request.key}: not in the store {where}")
    if code == "NoSuchBucket":
        return ConfigError(f"{where}: there is no such bucket; `gim cluster init` makes it")
    if code == "InvalidAccessKeyId":
        return ConfigError(f"{where}: the server does not know this access key: check s3.access_key_file")
    if code == "SignatureDoesNotMatch":
        return ConfigError(f"{where}: the secret key is not that of the access key: check s3.secret_key_file")
    if code == "RequestTimeTooSkewed":
        return ConfigError(f"{where}: {_skew(error)}: set the clock right")
    if code in _REGION_CODES:
        return ConfigError(f"{where}: wrong region or address: check s3.region and s3.endpoint ({error.message})")
    if code == "AccessDenied" or status in {401, 403}:
        return ConfigError(
            f"{where}: access denied: this key may not {request.action} {request.key}".rstrip()
            + f"; its policy needs {_RIGHTS[request.action]}"
        )
    if code in _NAME_CODES:
        return InvalidInput(f"{request.key[:80]}: longer than a name may be on {where}")
    if code in _FOLDER_CODES:
        return InvalidInput(f"{request.key}: an object and a folder of other objects cannot have the same name")
    if is_passing(error) or code in _LOST_CODES:
        return Unavailable(f"{where}: {_trouble(error, status)}; could not {request.action} {request.key}".rstrip())
    said = " ".join(f"{code} ({error.message})".split())
    return ConfigError(f"{where}: cannot {request.action} {request.key}: {said}")


def _trouble(error: Exception, status: int) -> str:
    if status:
        return f"the server refuses for now ({code_of(error) or f'HTTP {status}'})"
    if isinstance(error, TornBody):
        return str(error)
    causes = (*error.args, error.__cause__)
    said = next((text for cause in causes if (text := getattr(cause, "strerror", None))), "")
    if not said and isinstance(error, NoAnswer):
        return "the server does not answer in time"
    return f"the connection failed ({said or type(error).__name__})"


def _is_final(status: int, code: str) -> bool:
    return status in {501, 505, 507} or code in _FULL_CODES


def _is_distrust(error: SSLError) -> bool:
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args)


def _is_plain(error: SSLError) -> bool:
    return any(getattr(cause, "reason", "") in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"} for cause in error.args)


def _skew(error: S3Error) -> str:
    try:
        theirs = parsedate_to_datetime(error.response.headers.get("date", ""))
        seconds = abs((datetime.now(UTC) - theirs).total_seconds())
    except (TypeError, ValueError):
        return "this machine's clock and the server's differ too much"
    return f"this machine's clock and the server's differ by {seconds:.0f} s"
