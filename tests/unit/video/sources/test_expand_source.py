"""What a text given as a source stands for: files, folders, lists, URLs, ids, and what is none of them."""

import os
from pathlib import Path

import pytest

from gim.errors import InvalidInput, UnsafeInput
from gim.video.config import SourceConfig
from gim.video.sources.expand import SkippedSource, Source, expand_source

CONFIG = SourceConfig()


def make(path: Path, data: bytes = b"\x00video") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def expand(text: object, config: SourceConfig = CONFIG) -> list[Source]:
    return list(expand_source(str(text), config))


def test_expand_when_given_a_file_then_itself_whatever_its_suffix(tmp_path, monkeypatch):
    make(tmp_path / "walk.data")
    monkeypatch.chdir(tmp_path)

    assert expand("walk.data") == [Source("walk.data", "file", str(tmp_path / "walk.data"))]


def test_expand_when_a_file_is_named_like_a_youtube_id_then_the_file_wins(tmp_path, monkeypatch):
    make(tmp_path / "dQw4w9WgXcQ")
    monkeypatch.chdir(tmp_path)

    assert expand("dQw4w9WgXcQ")[0].kind == "file"


def test_expand_when_given_a_folder_then_its_videos_sorted_and_nothing_hidden(tmp_path):
    for name in ("b/2.MP4", "b/10.mkv", "a.mov", "notes.txt", ".hidden/x.mp4", "b/.y.mp4", "LICENSE", "c/d/z.webm"):
        make(tmp_path / name)
    (tmp_path / "c" / "loop").symlink_to(tmp_path)
    (tmp_path / "linked.mp4").symlink_to(tmp_path / "b" / "2.MP4")

    names = [Path(source.location).relative_to(tmp_path).as_posix() for source in expand(tmp_path)]

    assert names == ["a.mov", "linked.mp4", "b/10.mkv", "b/2.MP4", "c/d/z.webm"]


def test_expand_when_a_folder_holds_no_video_then_invalid(tmp_path):
    make(tmp_path / "notes.md")
    with pytest.raises(InvalidInput, match="holds no video"):
        expand(tmp_path)


def test_expand_when_given_a_list_then_its_lines_in_order(tmp_path):
    make(tmp_path / "videos" / "b.mp4")
    make(tmp_path / "videos" / "a.mp4")
    make(tmp_path / "clip.mov")
    lines = [
        "\ufeff# walks",
        "",
        "  clip.mov  ",
        'https://Example.org/walk.mp4   licence="CC BY 4.0"',
        "videos",
        "dQw4w9WgXcQ license='public domain'",
        'clip.mov licence="mine"',
    ]
    listing = make(tmp_path / "all.txt", "\r\n".join(lines).encode())

    clip, folder = str(tmp_path / "clip.mov"), tmp_path / "videos"
    assert expand(listing) == [
        Source(clip, "file", clip),
        Source(
            'https://Example.org/walk.mp4 licence="CC BY 4.0"',
            "http",
            "https://example.org/walk.mp4",
            licence="CC BY 4.0",
        ),
        Source(str(folder / "a.mp4"), "file", str(folder / "a.mp4")),
        Source(str(folder / "b.mp4"), "file", str(folder / "b.mp4")),
        Source('dQw4w9WgXcQ licence="public domain"', "youtube", "dQw4w9WgXcQ", licence="public domain"),
        Source(f'{clip} licence="mine"', "file", clip, licence="mine"),
    ]
    assert all(expand(source.text) == [source] for source in expand(listing))


def test_expand_when_lines_of_a_list_are_bad_then_the_others_are_found_and_each_is_named(tmp_path):
    make(tmp_path / "other.list", b"x")
    good = make(tmp_path / "good.mp4")
    listing = make(tmp_path / "all.list", b"gone.mp4\nother.list\n$(reboot)\nfile:///etc/passwd\ngood.mp4\n../..\x01\n")
    skipped: list[SkippedSource] = []

    found = list(expand_source(str(listing), CONFIG, on_skip=skipped.append))

    assert [source.location for source in found] == [str(good)]
    assert [skip.text for skip in skipped] == ["gone.mp4", "other.list", "$(reboot)", "file:///etc/passwd", "../..\x01"]
    assert {skip.reason for skip in skipped} == {"invalid"}
    assert f"{listing}, line 2: " in str(skipped[1].error)
    assert "cannot name another list" in str(skipped[1].error)
    with pytest.raises(InvalidInput, match=r"line 1: .*gone\.mp4.*\(and 4 more\)"):
        expand(listing)


@pytest.mark.parametrize("data", [b"# nothing\n\n", b"\xff\xfe\x00list", b""])
def test_expand_when_a_list_is_empty_or_no_text_then_invalid(tmp_path, data):
    with pytest.raises(InvalidInput):
        expand(make(tmp_path / "all.txt", data))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  ",
            "gone.mp4",
            "folder/gone.mp4",
            "../../gone",
            "$(touch x)",
            "a;b",
            "`id`",
            "x|y",
            "yt-../../etc/passwd",
        ),
        *(
            "file:///etc/passwd",
            "ftp://h/x.mp4",
            "concat:/etc/passwd",
            "-rf",
            "a\nb",
            "a\x00b",
            "x" * 5000,
            "~nobody0/x",
        ),
        *("https://", "http://a b/c", "https://www.youtube.com/watch?v=..", "rtsp://h/x", "data:video/mp4;base64,AAAA"),
    ],
)
def test_expand_when_given_no_source_then_one_line_that_names_it(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as raised:
        expand(text)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["fifo", "device", "empty.mp4", "broken"])
def test_expand_when_the_file_is_no_file_then_says_what_it_is(tmp_path, name):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "broken").symlink_to(tmp_path / "gone")
    make(tmp_path / "empty.mp4", b"")
    said = {"fifo": "a pipe", "device": "a device", "empty.mp4": "empty", "broken": "leads nowhere"}

    with pytest.raises(InvalidInput, match=said[name]):
        expand(tmp_path / name)


def test_expand_when_the_url_hides_white_space_then_unsafe():
    with pytest.raises(UnsafeInput):
        expand("http://example.org/a b.mp4")


def test_expand_when_a_folder_inside_cannot_be_read_then_the_others_are_found_and_it_is_named(tmp_path, monkeypatch):
    for name in ("a/1.mp4", "b/2.mp4", "c/3.mp4"):
        make(tmp_path / name)
    scandir = os.scandir

    def refuse(path):  # the superuser may read everything
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    expansion = expand_source(str(tmp_path), CONFIG)
    assert [Path(next(expansion).location).name for _ in range(2)] == ["1.mp4", "3.mp4"]
    with pytest.raises(InvalidInput, match=r"/b: cannot be read \(Permission denied\)"):
        next(expansion)
