"""What S3 servers say in our words: the refusals that the servers of the tests cannot be brought to."""

import ssl

import pytest
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3 import HTTPResponse
from urllib3.exceptions import LocationParseError, ProtocolError, SSLError

from gim.adapters.s3.attempts import Attempts
from gim.adapters.s3.errors import Request, SpoiltBody, TornBody, is_passing, translated
from gim.errors import ConfigError, CorruptObject, DiskFull, GimError, InvalidInput, KeyMissing, Unavailable

REQUEST = Request("s3://films at http://store:9000", "write", "a/b")


def refusal(status: int, code: str, message: str = "words\nof a server", **headers: str) -> S3Error:
    return S3Error(HTTPResponse(status=status, headers=headers), code, message, "/films/a/b", "id", "host")


DISTRUST = ssl.SSLCertVerificationError("certificate verify failed")
CASES: list[tuple[Exception, bool, type[GimError]]] = [
    (refusal(503, "SlowDown"), True, Unavailable),
    (refusal(503, "SlowDownWrite"), True, Unavailable),
    (refusal(500, "InternalError"), True, Unavailable),
    (refusal(503, "XMinioServerNotInitialized"), True, Unavailable),
    (refusal(429, "TooManyRequests"), True, Unavailable),
    (refusal(409, "ConditionalRequestConflict"), True, Unavailable),
    (refusal(409, "OperationAborted"), True, Unavailable),
    (refusal(400, "XAmzContentSHA256Mismatch"), True, Unavailable),
    (refusal(404, "NoSuchUpload"), False, Unavailable),
    (refusal(507, "XMinioStorageFull"), False, DiskFull),
    (refusal(507, "SomethingNew"), False, DiskFull),
    (refusal(400, "XMinioAdminBucketQuotaExceeded"), False, DiskFull),
    (refusal(403, "QuotaExceeded"), False, DiskFull),
    (refusal(404, "NoSuchKey"), False, KeyMissing),
    (refusal(404, "NoSuchBucket"), False, ConfigError),
    (refusal(403, "AccessDenied"), False, ConfigError),
    (refusal(403, "SomethingNew"), False, ConfigError),
    (refusal(403, "RequestTimeTooSkewed"), True, ConfigError),  # it may be that this machine slept
    (refusal(400, "KeyTooLongError"), False, InvalidInput),
    (refusal(409, "XMinioParentIsObject"), False, InvalidInput),
    (refusal(501, "NotImplemented"), False, ConfigError),
    (refusal(400, "SomethingNew"), False, ConfigError),
    (ServerError("", 503), True, Unavailable),
    (ServerError("", 418), False, ConfigError),
    (InvalidResponseError(502, "text/html", "<html>\n</html>"), True, Unavailable),
    (InvalidResponseError(404, "text/html", "<html>\n</html>"), False, ConfigError),
    (ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer")), True, Unavailable),
    (SSLError(ssl.SSLEOFError(8, "EOF occurred")), True, Unavailable),
    (SSLError(DISTRUST), False, ConfigError),
    (LocationParseError("no host"), False, ConfigError),
    (TornBody("an answer broke off"), True, Unavailable),
    (SpoiltBody(), True, CorruptObject),
]


@pytest.mark.parametrize(("error", "passes", "kind"), CASES, ids=lambda value: str(value)[:60])
def test_error_is_one_line_of_the_right_kind(error: Exception, passes: bool, kind: type[GimError]) -> None:
    assert is_passing(error) is passes
    ours = translated(error, REQUEST)
    assert type(ours) is kind
    assert "\n" not in str(ours)
    assert "s3://films" in str(ours) or kind is InvalidInput
    assert "a/b" in str(ours) or kind in {ConfigError, DiskFull}


def test_clock_that_is_off_says_by_how_much() -> None:
    error = refusal(403, "RequestTimeTooSkewed", date="Mon, 01 Jan 2001 00:00:00 GMT")
    assert "differ by" in str(translated(error, REQUEST))
    assert "differ too much" in str(translated(refusal(403, "RequestTimeTooSkewed"), REQUEST))


def test_attempts_are_as_many_as_allowed_and_only_for_what_passes() -> None:
    tried: list[MinioException] = []

    def fail(error: MinioException) -> None:
        tried.append(error)
        raise error

    with pytest.raises(Unavailable):
        Attempts(3).make(REQUEST, lambda: fail(ServerError("", 503)))
    with pytest.raises(ConfigError):
        Attempts(3).make(REQUEST, lambda: fail(refusal(403, "AccessDenied")))
    assert len(tried) == 3 + 1


def test_bug_is_left_as_it_is_and_not_tried_again() -> None:
    tried = []
    with pytest.raises(ZeroDivisionError):
        Attempts(3).make(REQUEST, lambda: tried.append(1) or 1 / 0)
    assert tried == [1]
