"""Local files into the store: bytes, ids, provenance, and files that change, lie or are not what they seem."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput, UnsafeInput
from gim.records import VideoMeta
from gim.transfer.text import describe_text
from gim.video.config import SourceConfig
from gim.video.sources import library
from gim.video.sources.expand import Source, expand_source
from gim.video.sources.fetch import fetch_source, video_metas

CONFIG = SourceConfig()
VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def make(path: Path, data: bytes = VIDEO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fetch(path: Path | str, store: FileStore, config: SourceConfig = CONFIG) -> VideoMeta:
    (source,) = expand_source(str(path), config)
    return fetch_source(source, store, config, work_dir=store.root.parent / "work")


def test_fetch_file_then_bytes_id_and_provenance(store, tmp_path):
    path = make(tmp_path / "walk.MP4")

    meta = fetch(path, store)

    assert store.get(meta.source_key) == VIDEO
    assert meta.sha256 == hashlib.sha256(VIDEO).hexdigest()
    assert (meta.video_id, meta.source_key) == (f"file-{meta.sha256[:16]}", f"videos/{meta.video_id}/source.mp4")
    assert (meta.num_bytes, meta.provenance.licence, meta.provenance.source) == (len(VIDEO), "local", str(path))
    assert path.read_bytes() == VIDEO
    assert list(video_metas(store)) == [meta]


def test_fetch_file_when_again_and_under_another_name_then_stored_once_and_meta_unchanged(store, tmp_path):
    first = fetch(make(tmp_path / "walk.mp4"), store)
    before = store.get(keys.video_meta(first.video_id))

    assert fetch(make(tmp_path / "copy.mov"), store) == first
    assert fetch(tmp_path / "walk.mp4", store) == first
    assert store.get(keys.video_meta(first.video_id)) == before
    assert len(list(store.list())) == 2


def test_fetch_file_when_killed_between_file_and_meta_then_no_second_copy_stays(store, tmp_path):
    video_id = keys.file_video_id(hashlib.sha256(VIDEO).hexdigest())
    store.put(keys.video_source(video_id, "mov"), VIDEO)

    meta = fetch(make(tmp_path / "walk.mp4"), store)

    assert list(store.list("videos/")) == sorted([keys.video_meta(video_id), meta.source_key])


@pytest.mark.parametrize(("name", "text"), [("walk.mp4.license", "CC-BY-4.0"), ("LICENSE", "Public domain\n\nby me")])
def test_fetch_file_when_a_licence_lies_beside_it_then_recorded_word_for_word(store, tmp_path, name, text):
    make(tmp_path / name, f"\n{text}\n".encode())

    provenance = fetch(make(tmp_path / "walk.mp4"), store).provenance

    assert (provenance.licence, provenance.licence_from) == (text, "sidecar")


def test_fetch_file_when_its_name_is_not_utf_8_then_meta_still_is(store, tmp_path):
    path = tmp_path / b"caf\xe9.mp4".decode("utf-8", "surrogateescape")

    meta = fetch(make(path), store)

    assert codecs.from_json(VideoMeta, store.get(keys.video_meta(meta.video_id))) == meta


def test_fetch_file_when_it_changes_while_it_is_read_then_refused_and_nothing_kept(store, tmp_path, monkeypatch):
    path = make(tmp_path / "growing.mp4")
    original = library.sha256_of

    def then_append(read: Path) -> str:
        digest = original(read)
        with path.open("ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr(library, "sha256_of", then_append)
    with pytest.raises(InvalidInput, match="changed while it was read"):
        fetch(path, store)
    assert list(store.list()) == []


def test_fetch_file_when_larger_than_allowed_then_refused(store, tmp_path):
    source = Source("x", "file", str(make(tmp_path / "walk.mp4")))
    with pytest.raises(InvalidInput, match=r"source\.max_bytes \(100\)"):
        fetch_source(source, store, SourceConfig(max_bytes=100), work_dir=tmp_path)


def test_fetch_file_when_another_file_has_its_id_then_refused(store, tmp_path):
    meta = fetch(make(tmp_path / "walk.mp4"), store)
    forged = codecs.to_json(VideoMeta(meta.video_id, meta.source_key, meta.sha256[:-1] + "x", 1, meta.provenance))
    store.put(keys.video_meta(meta.video_id), forged)

    with pytest.raises(InvalidInput, match="another file already has the id"):
        fetch(tmp_path / "walk.mp4", store)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"just a text\n", InvalidInput),
        ("Grüße".encode() + b"x" * 9000, InvalidInput),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", UnsafeInput),
        (b"\xef\xbb\xbf#EXTM3U\nhttp://169.254.169.254/\n", UnsafeInput),
        (b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash">', UnsafeInput),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", InvalidInput),
    ],
)
def test_fetch_file_when_it_is_a_text_named_like_a_video_then_refused(store, tmp_path, data, kind):
    with pytest.raises(kind):
        fetch(make(tmp_path / "walk.mp4", data), store)
    assert list(store.list()) == []


def test_describe_text_when_a_character_is_cut_at_the_end_then_still_text():
    assert describe_text("ä".encode()[:1] and "tää".encode()[:-1]) == "text"
    assert describe_text(b"\x47\x40\x00\x10" + bytes(184)) == ""


@pytest.mark.shared
def test_describe_text_when_given_real_videos_then_never_text(shared_data):
    videos = list((shared_data / "data").rglob("*.mp4"))
    assert len(videos) > 10
    for path in videos:
        with path.open("rb") as file:
            assert describe_text(file.read(4096)) == ""
