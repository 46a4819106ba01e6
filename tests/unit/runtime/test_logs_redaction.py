"""Secrets in texts: the known ones however they are spelled, and those that URLs and headers carry."""

import base64
import io
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.runtime.logs import make_log
from gim.runtime.redaction import HIDDEN, Redactor

SECRET = 'pa"ss w/rd\\é+1'


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        json.dumps(SECRET),
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        repr({"sasl_plain_password": SECRET}),
    ],
)
def test_a_known_secret_is_hidden_however_it_is_spelled(spelled):
    text = Redactor([SECRET]).text(f"before {spelled} after")
    assert HIDDEN in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert SECRET not in text
    assert "w/rd" not in text
    assert "w%2Frd" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("get http://user:pw@host/x failed", "get http://***@host/x failed"),
        ("get https://token@host:443", "get https://***@host:443"),
        ("https://h/a@b", "https://h/a@b"),
        ("https://h/x?a=1&X-Amz-Signature=deadbeef&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        (
            "/b/k?X-Amz-Credential=AK%2F20&X-Amz-Security-Token=abc",
            "/b/k?X-Amz-Credential=***&X-Amz-Security-Token=***",
        ),
        ("https://v/videoplayback?sig=AB&lsig=CD&itag=22", "https://v/videoplayback?sig=***&lsig=***&itag=22"),
        ("https://h/?access_token=abc#x", "https://h/?access_token=***#x"),
        ("https://h/?keyword=dog&page_token_count=3", "https://h/?keyword=dog&page_token_count=3"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=y", "Authorization: ***"),
        ("{'Authorization': 'Basic dTpw', 'Host': 'h'}", "{'Authorization': '***', 'Host': 'h'}"),
        ("authorization: Bearer abcdefghijkl\nHost: h", "authorization: ***\nHost: h"),
        ("sent bearer abcdefghijkl.mno", "sent bearer ***"),
        ("Set-Cookie: SID=1; Path=/", "Set-Cookie: ***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nrest",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\nrest",
        ),
        ("gim.segments.v1 offset 12: 3 matches", "gim.segments.v1 offset 12: 3 matches"),
    ],
)
def test_what_opens_a_door_is_hidden_and_the_rest_stays(text, expected):
    assert Redactor().text(text) == expected


def test_fields_by_secret_names_are_hidden_at_any_depth():
    redacted = Redactor().value({"headers": {"Authorization": "x y"}, "s3": [{"secret_key": "k"}], "password": ""})
    assert redacted == {"headers": {"Authorization": HIDDEN}, "s3": [{"secret_key": HIDDEN}], "password": ""}


def test_names_and_odd_values_are_searched_too():
    class Config:
        def __repr__(self):
            return "Config(password='hunter2')"

    redacted = Redactor(["hunter2"]).value({"hunter2": Config(), "raw": b"hunter2", "error": ValueError("hunter2")})
    assert "hunter2" not in json.dumps(redacted)


def test_the_longer_of_two_secrets_is_hidden_whole():
    assert Redactor(["abcd", "abcdefgh"]).text("x abcdefgh") == f"x {HIDDEN}"


def test_no_secret_is_no_secret():
    assert Redactor(["", ""]).text("a b") == "a b"


@given(
    secret=st.text(min_size=6, max_size=40).filter(lambda text: text.strip() and "*" not in text),
    around=st.text(alphabet="0123456789 \n", max_size=20),
)
def test_no_secret_ever_reaches_a_line(secret, around):
    stream = io.StringIO()
    make_log(stream, "json", secrets=[secret]).warning(
        f"{around}{secret}{around}", plain=secret, listed=[{"x": (around + secret,)}], shown=repr({"p": secret})
    )
    (line,) = stream.getvalue().split("\n")[:-1]
    held = json.loads(line)
    held.pop("timestamp")
    texts = [held["event"], held["plain"], held["listed"][0]["x"][0], held["shown"]]
    assert all(secret not in text for text in texts)
    assert held["plain"] == HIDDEN
