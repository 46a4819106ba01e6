import grpc
import pytest

from gim import errors
from gim.rpc.errors import Refusal, code_of, is_bug, raised_of, refusal_of
from gim.rpc.rooms import Busy

CODES = [
    (errors.InvalidInput("x"), "INVALID_ARGUMENT"),
    (errors.ShapeError("x"), "INVALID_ARGUMENT"),
    (errors.CorruptObject("x"), "INVALID_ARGUMENT"),
    (errors.UnknownMatcher("x"), "NOT_FOUND"),
    (errors.KeyMissing("x"), "NOT_FOUND"),
    (errors.Unavailable("x"), "UNAVAILABLE"),
    (errors.DiskFull("x"), "RESOURCE_EXHAUSTED"),
    (errors.ConfigError("x"), "FAILED_PRECONDITION"),
]


@pytest.mark.parametrize(("error", "code"), CODES)
def test_an_error_of_ours_keeps_its_kind_and_message_there_and_back(error, code):
    refusal = refusal_of(error)
    assert refusal.code.name == code
    arrived = Refusal(code_of(refusal.code.value[0]), dict(refusal.trailer)["gim-error"], refusal.message)
    raised = raised_of(arrived, "host:1")
    assert type(raised) is type(error)
    assert str(raised) == "matching server host:1: x"


def test_no_room_is_resource_exhausted_and_may_work_later():
    refusal = refusal_of(Busy("full"))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert type(raised_of(refusal, "h:1")) is errors.Unavailable


@pytest.mark.parametrize("bug", [ValueError("password=hunter2"), KeyError("secret"), RuntimeError("/a/path")])
def test_of_a_bug_nothing_is_told(bug):
    refusal = refusal_of(bug)
    assert is_bug(refusal)
    assert refusal == Refusal(grpc.StatusCode.INTERNAL, "", "a bug in the server; its log has more")
    assert type(raised_of(refusal, "h:1")) is errors.GimError


def test_a_message_is_one_line_that_fits_into_the_metadata():
    refusal = refusal_of(errors.InvalidInput("a\nb" + 10_000 * "c"))
    assert refusal.message.startswith("a b")
    assert len(refusal.message) == 1000


@pytest.mark.parametrize("kind", ["SystemExit", "annotations", "os", "errno", "__doc__", "is_disk_full", "NotOffered"])
def test_a_name_from_the_wire_becomes_no_other_class(kind):
    raised = raised_of(Refusal(grpc.StatusCode.INVALID_ARGUMENT, kind, "x"), "h:1")
    assert type(raised) is errors.InvalidInput


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("DEADLINE_EXCEEDED", "", errors.Unavailable),
        ("UNIMPLEMENTED", "Method not found!", errors.ConfigError),
        ("UNAUTHENTICATED", "", errors.ConfigError),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 5)", errors.InvalidInput),
        ("UNAVAILABLE", "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", errors.ConfigError),
        ("UNAVAILABLE", "Connection refused", errors.Unavailable),
        ("UNKNOWN", "", errors.GimError),
    ],
)
def test_what_grpc_says_by_itself_is_one_of_our_errors_too(code, message, kind):
    raised = raised_of(Refusal(grpc.StatusCode[code], "", message), "h:1")
    assert type(raised) is kind
    assert "h:1" in str(raised)
