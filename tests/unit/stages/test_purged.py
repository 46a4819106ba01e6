"""A guard around a stage's work: what is about a purged video is not begun, or is taken back."""

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.stages.purged import PurgeGuard, VideoPurged, is_purged, mark_purged
from gim.video.sources.library import put_alias
from gim.wire.v1.events_pb2 import LabelsReady, SegmentReady, VideoRequested

VIDEO, OTHER = "file-0123456789abcdef", "file-fedcba9876543210"
YOUTUBE = "yt-dQw4w9WgXcQ"
URL = "https://example.org/a.mp4"
LATE = SegmentReady(video_id=VIDEO, sampling_id="s", segment=0)


@pytest.fixture
def store(tmp_path):
    opened = FileStore(tmp_path / "s")
    yield opened
    opened.close()


def _forbidden():
    raise AssertionError("work was begun")


def _labels(store, video_id=VIDEO):
    key = keys.segment_labels(video_id, "s", "m", 0)
    store.put(key, b"labels")
    return key


def test_work_on_other_videos_goes_through(store):
    mark_purged(store, VIDEO, 5)
    guard = PurgeGuard(store)
    produced = [("k", LabelsReady(video_id=OTHER))]
    assert guard.guard("label", SegmentReady(video_id=OTHER), lambda: produced) == produced
    with pytest.raises(ZeroDivisionError):
        guard.guard("label", SegmentReady(video_id=OTHER), lambda: [("k", 1 / 0)])


def test_work_on_a_purged_video_is_not_begun_and_its_leavings_go(store):
    key = _labels(store)
    mark_purged(store, VIDEO, 5)
    with pytest.raises(VideoPurged, match="was purged"):
        PurgeGuard(store).guard("label", LATE, _forbidden)
    assert not store.exists(key)


@pytest.mark.parametrize("ending", ["done", "failed"])
def test_what_was_made_while_the_purge_was_at_work_is_taken_back(store, ending):
    others = _labels(store, OTHER)

    def work():
        mark_purged(store, VIDEO, 5)
        _labels(store)
        if ending == "failed":
            raise OSError("its frames are gone")
        return [(VIDEO, LabelsReady(video_id=VIDEO))]

    with pytest.raises(VideoPurged):
        PurgeGuard(store).guard("label", LATE, work)
    assert list(store.list("labels/")) == [others]


def test_a_stage_takes_back_only_what_it_may_write(store):
    key = _labels(store)
    store.put(keys.video_source(VIDEO, "mp4"), b"film")
    mark_purged(store, VIDEO, 5)
    with pytest.raises(VideoPurged):
        PurgeGuard(store).guard("propagate", LabelsReady(video_id=VIDEO), _forbidden)
    with pytest.raises(VideoPurged):
        PurgeGuard(store).guard("label", LATE, _forbidden)
    assert not store.exists(key)
    assert store.exists(keys.video_source(VIDEO, "mp4"))


@pytest.mark.parametrize("source", [URL, f'{URL} licence="CC0"', "https://EXAMPLE.org:443/a.mp4", YOUTUBE, YOUTUBE[3:]])
def test_a_late_request_for_what_was_purged_is_not_even_fetched(store, source):
    mark_purged(store, VIDEO, 5, [URL])
    mark_purged(store, YOUTUBE, 5)
    for request in (VideoRequested(source=source), VideoRequested(source=source, requested_at_ms=5)):
        with pytest.raises(VideoPurged):
            PurgeGuard(store).guard("ingest", request, _forbidden)


def test_a_request_that_turns_out_to_be_a_purged_video_is_taken_back_with_what_leads_to_it(store):
    mark_purged(store, VIDEO, 5)

    def work():
        store.put(keys.video_source(VIDEO, "mp4"), b"film")
        store.put(keys.video_meta(VIDEO), b"{}")
        store.put(keys.frame_image(VIDEO, "s", 0), b"jpeg")
        put_alias(store, URL, VIDEO)
        put_alias(store, URL + "?other", OTHER)
        return [("k", LATE)]

    with pytest.raises(VideoPurged):
        PurgeGuard(store).guard("ingest", VideoRequested(source=URL), work)
    assert list(store.list()) == [keys.purge_mark(VIDEO), keys.source_alias(URL + "?other")]


@pytest.mark.parametrize("source", [URL, "https://example.org/new-address.mp4"])
def test_a_request_made_after_the_purge_lifts_the_mark(store, source):
    mark_purged(store, VIDEO, 5, [URL])
    guard = PurgeGuard(store)
    produced = [("k", LATE)]
    assert guard.guard("ingest", VideoRequested(source=source, requested_at_ms=6), lambda: produced) == produced
    assert not is_purged(store, VIDEO)
    assert guard.guard("label", LATE, list) == []
    mark_purged(store, VIDEO, 7)
    with pytest.raises(VideoPurged):
        guard.guard("ingest", VideoRequested(source=source, requested_at_ms=6), lambda: produced)


def test_the_marks_keep_no_address(store):
    mark_purged(store, VIDEO, 5, [URL])
    assert not any("example" in key or b"example" in store.get(key) for key in store.list())
