import pytest

from gim.adapters.bus_sqlite import SqliteBus
from gim.runtime.publishing import publish_requests, read_requests, read_source_list
from gim.wire import topics
from gim.wire.topics import parse_event

LISTED = """\ufeff# what to take
dQw4w9WgXcQ

  https://youtu.be/dQw4w9WgXcQ
https://Example.org:443/a%20b.mp4 licence="CC BY 4.0"
ytsearch3:city walk
"""


def test_a_list_is_read_line_by_line():
    assert read_source_list(LISTED)[0] == "dQw4w9WgXcQ"
    assert len(read_source_list(LISTED)) == 4


def test_requests_are_keyed_by_what_they_lead_to():
    found, refused = read_requests([*read_source_list(LISTED), "dQw4w9WgXcQ"])
    assert refused == []
    assert [(request.source, request.key) for request in found] == [
        ("dQw4w9WgXcQ", "yt-dQw4w9WgXcQ"),
        ("https://youtu.be/dQw4w9WgXcQ", "yt-dQw4w9WgXcQ"),
        ('https://Example.org:443/a%20b.mp4 licence="CC BY 4.0"', "https://example.org/a%20b.mp4"),
        ("ytsearch3:city walk", "ytsearch3:city walk"),
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("films/a.mp4", "not seen by the downloader"),
        ("/films/a.mp4", "--mounted"),
        ("s3://films/a.mp4", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("https://user:secret@example.org/a.mp4", "leave it out"),
        ("", "is empty"),
        ("a\nb", "control characters"),
        ("a\udcff.mp4", "not UTF-8"),
        ("https://www.youtube.com/watch?v=short", "YouTube"),
    ],
)
def test_what_the_downloader_cannot_take_is_refused_and_said(source, said):
    found, (refusal,) = read_requests([source])
    assert found == []
    assert said in refusal.error
    assert "secret" not in refusal.error


def test_a_mounted_file_is_asked_for_by_its_absolute_path(tmp_path):
    found, refused = read_requests(["a.mp4", '/b.mp4 licence="CC0"'], mounted=True, folder=tmp_path)
    assert refused == []
    assert [request.source for request in found] == [str(tmp_path / "a.mp4"), '/b.mp4 licence="CC0"']


def test_a_request_says_when_it_was_made(tmp_path):
    bus = SqliteBus(tmp_path / "bus.sqlite")
    found, _ = read_requests([f"https://example.org/{number}.mp4" for number in range(2500)])
    publish_requests(bus, found, now=lambda: 12.5)
    messages = list(bus.read(topics.INGEST))
    assert len(messages) == 2500
    event = parse_event(topics.INGEST, messages[0].value)
    assert (event.source, event.requested_at_ms) == ("https://example.org/0.mp4", 12500)
    assert dict(messages[0].headers) == {"gim-type": "gim.wire.v1.VideoRequested", "gim-producer": "publish"}
    bus.close()
