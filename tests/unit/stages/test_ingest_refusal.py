"""A video that the decoder refuses leaves nothing in the store, and takes nothing away from what is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput, UnsafeInput
from gim.ports.telemetry import NullTelemetry
from gim.settings import Settings
from gim.stages.ingest import IngestStage
from gim.video.sources import library
from gim.wire.v1 import events_pb2
from tests.unit.video.media import write_audio, write_video


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def ingest(store: FileStore, source: Path, *sets: str) -> None:
    settings = Settings.load(list(sets), environ={})
    stage = IngestStage(
        store,
        settings.source,
        settings.video_config(),
        work_dir=store.root / ".downloads",
        threads=1,
        telemetry=NullTelemetry(),
    )
    list(stage.handle(events_pb2.VideoRequested(source=str(source))))


def test_what_was_never_a_video_is_taken_out_and_refused_again_in_the_same_words(store, tmp_path):
    source = write_audio(tmp_path / "talk.mp4") or tmp_path / "talk.mp4"
    said = []
    for _ in range(2):
        with pytest.raises(InvalidInput) as refused:
            ingest(store, source)
        said.append(str(refused.value))
        assert list(store.list()) == []
    assert said[0] == said[1]
    assert source.is_file()


def test_frames_that_came_before_the_refusal_go_too(store, tmp_path, monkeypatch):
    source = tmp_path / "clip.mp4"
    write_video(source, 20)
    all_but_one_frame = ("sampling.trim_start_seconds=0.62", "sampling.trim_end_seconds=0.01")
    put: list[str] = []
    original = FileStore.put

    def noting(self: FileStore, key: str, data: bytes, **more: bool) -> bool:
        put.append(key)
        return original(self, key, data, **more)

    monkeypatch.setattr(FileStore, "put", noting)
    with pytest.raises(InvalidInput, match="one frame can be used"):
        ingest(store, source, *all_but_one_frame)
    assert any(key.startswith("frames/") for key in put)
    assert list(store.list()) == []


def test_a_video_that_other_settings_have_sampled_stays(store, tmp_path):
    source = tmp_path / "clip.mp4"
    write_video(source, 20)
    ingest(store, source)
    before = {key: store.get(key) for key in store.list()}
    with pytest.raises(UnsafeInput):
        ingest(store, source, "sampling.interval_seconds=0.4", "limits.max_pixels=100")
    assert {key: store.get(key) for key in store.list()} == before


def test_the_addresses_that_led_to_it_go_too(store, tmp_path):
    source = tmp_path / "talk.mp4"
    write_audio(source)
    sha256 = library.sha256_of(source)
    library.put_alias(store, "https://example.org/talk.mp4", keys.file_video_id(sha256))
    library.put_alias(store, "https://example.org/other.mp4", "file-0123456789abcdef")
    with pytest.raises(InvalidInput):
        ingest(store, source)
    assert list(store.list()) == [keys.source_alias("https://example.org/other.mp4")]
