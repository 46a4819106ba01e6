"""One spelling per URL, and none for what hides something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.transfer.urls import normalise_url, without_query


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("https://example.org:443/a.mp4#t=3", "https://example.org/a.mp4"),
        ("http://example.org:8080/a%20b.mp4?x=1&y=2", "http://example.org:8080/a%20b.mp4?x=1&y=2"),
        ("https://bücher.example/ö.mp4?q=ß", "https://xn--bcher-kva.example/%C3%B6.mp4?q=%C3%9F"),
        ("http://[::1]:80/x", "http://[::1]/x"),
    ],
)
def test_normalise_url_then_one_spelling(given_url, expected):
    assert normalise_url(given_url) == expected
    assert normalise_url(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "file:///etc/passwd",
            "ftp://example.org/x",
            "gopher://x",
            "javascript:alert(1)",
            "http:///x",
            "http://",
            "//x/y",
        ),
        *(
            "http://user:password@example.org/",
            "http://example.org\\@10.0.0.1/",
            "http://exa mple.org/",
            "http://a\tb/",
        ),
        *("http://example.org/\r\nHost: x", "http://[fe80::1%25eth0]/", "http://..", "http://x:99999/", "http://[::1"),
        *("http://a$(id).example/", "http://`id`/", "https://example.org/" + "a" * 9000, "http://example.org/\x00"),
    ],
)
def test_normalise_url_when_it_is_no_plain_http_url_then_invalid(text):
    with pytest.raises(InvalidInput):
        normalise_url(text)


def test_normalise_url_when_it_holds_a_password_then_the_message_does_not():
    with pytest.raises(InvalidInput) as raised:
        normalise_url("http://user:hunter2@example.org/")
    assert "hunter2" not in str(raised.value)


@given(st.text(max_size=40))
def test_normalise_url_when_given_anything_then_normal_or_invalid(text):
    try:
        normal = normalise_url(f"http://example.org/{text}")
    except InvalidInput:
        return
    assert normalise_url(normal) == normal
    assert normal.isascii()


def test_without_query_then_no_token_is_shown():
    assert without_query("https://h/p.mp4?signature=s") == "https://h/p.mp4"
