import datetime
import shutil

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput, Unavailable
from gim.runtime.purge import PurgeRecord, preview_purge, purge_video
from gim.runtime.run_folder import new_run
from gim.video.sources.library import put_alias
from tests import report_data

URL = "https://example.org/walk.mp4"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with two videos, every kind of trace of the first, and a dataset that names it."""
    root = tmp_path_factory.mktemp("store") / "s"
    store = FileStore(root)
    video_id = report_data.good_video(store, num_samples=24)
    other = report_data.rejected_video(store)
    store.put(keys.video_source(video_id, "mp4"), b"film" * 100)
    store.put(keys.segment_labels(video_id, report_data.SAMPLING_ID, "rootsift-00112233", 0), b"labels")
    store.put(keys.segment_features(video_id, report_data.SAMPLING_ID, "sift-00112233", 0), b"features")
    store.put(keys.frame_mask(video_id, report_data.SAMPLING_ID, "selfie-00112233", 0), b"mask")
    put_alias(store, URL, video_id)
    put_alias(store, URL + "?other", other)
    store.put("datasets/all-00000000/manifest.json", f'{{"videos":["{other}"]}}'.encode())
    store.put("datasets/some-00000000/manifest.json", b"{}")
    store.close()
    stem = keys.source_alias(URL).removeprefix("sources/").removesuffix(".json")
    (root / ".downloads").mkdir()
    (root / ".downloads" / f"{stem}.part").write_bytes(b"half")
    (root / ".downloads" / f"{stem}.part.json").write_text("{}")
    (root / ".downloads" / f"{other}-x.video.part").write_bytes(b"half")
    with new_run(root) as run:
        run.log.write_text(f'{{"video": "{video_id}"}}\n')
    return root, video_id, other


@pytest.fixture
def store(filled, tmp_path):
    root, _, _ = filled
    shutil.copytree(root, tmp_path / "s", symlinks=True)
    opened = FileStore(tmp_path / "s")
    yield opened
    opened.close()


def _naming(root, text):
    """Files below a folder that have a text in their path or content."""
    return [
        path
        for path in root.rglob("*")
        if text in path.relative_to(root).as_posix() or (path.is_file() and text.encode() in path.read_bytes())
    ]


def test_no_trace_is_left_but_the_record(filled, store):
    _, video_id, other = filled
    before = len(_naming(store.root, other))
    result = purge_video(store, store.root, video_id)
    assert [path.relative_to(store.root).as_posix() for path in _naming(store.root, video_id)] == [result.record]
    assert _naming(store.root, URL.rpartition("/")[2] + '"') == []
    assert len(_naming(store.root, other)) == before
    record = codecs.from_json(PurgeRecord, store.get(result.record))
    assert record.video_id == video_id
    assert record.num_bytes == result.num_bytes == sum(trace.num_bytes for trace in result.removed)
    assert record.objects["frames"] == 25
    assert {"videos", "frames", "labels", "features", "masks", "pairs", "sources", "downloads", "run"} == set(
        record.objects
    )
    assert record.finished_at
    assert sum(record.objects.values()) == len(result.removed)


def test_the_record_holds_no_address_and_no_title(filled, store):
    _, video_id, _ = filled
    result = purge_video(store, store.root, video_id)
    text = store.get(result.record).decode()
    assert "example.org" not in text
    assert "Points" not in text


def test_a_preview_says_the_same_and_touches_nothing(filled, store):
    _, video_id, _ = filled
    before = sorted(store.list())
    preview = preview_purge(store, store.root, video_id)
    assert sorted(store.list()) == before
    assert purge_video(store, store.root, video_id).removed == preview.removed


def test_a_second_purge_finds_nothing_and_says_when(filled, store):
    _, video_id, _ = filled
    moment = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    purge_video(store, store.root, video_id, now=lambda: moment)
    again = purge_video(store, store.root, video_id)
    assert again.removed == []
    assert again.purged_before == "2030-01-02T03:04:05+00:00"
    assert len(list(store.list("audit/"))) == 1


def test_a_youtube_video_and_its_downloads_go(filled, store):
    _, _, other = filled
    result = purge_video(store, store.root, other)
    assert result.made_of.datasets == ["all-00000000"]
    left = [path.relative_to(store.root).as_posix() for path in _naming(store.root, other)]
    assert sorted(left) == sorted([result.record, "datasets/all-00000000/manifest.json"])


class _Dying:
    """A store whose process dies at the n-th removal."""

    def __init__(self, store, after):
        self._store = store
        self._left = after

    def __getattr__(self, name):
        return getattr(self._store, name)

    def delete(self, key):
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        self._store.delete(key)


@pytest.mark.parametrize("after", [0, 1, 3, 10, 23])
def test_after_a_crash_the_same_command_finishes_the_same_record(filled, store, after):
    _, video_id, _ = filled
    planned = preview_purge(store, store.root, video_id)
    with pytest.raises(KeyboardInterrupt):
        purge_video(_Dying(store, after), store.root, video_id)
    if after >= 3:  # manifests and meta go first, so nobody takes what is left for whole
        assert not [key for key in store.list() if video_id in key and key.endswith(("manifest.json", "meta.json"))]
    result = purge_video(store, store.root, video_id)
    (key,) = store.list("audit/")
    record = codecs.from_json(PurgeRecord, store.get(key))
    assert record.finished_at
    assert sum(record.objects.values()) == len(planned.removed)
    assert len(_naming(store.root, video_id)) == 1
    assert result.record == key


@pytest.mark.parametrize("video_id", ["file-0000000000000000", "yt-00000000000"])
def test_a_video_the_store_never_had_is_said(store, video_id):
    with pytest.raises(InvalidInput, match=f"{video_id}: the store holds nothing of it"):
        purge_video(store, store.root, video_id)
    assert list(store.list("audit/")) == []


@pytest.mark.parametrize("text", ["..", "file-*", "", "videos/x", "yt-short"])
def test_what_is_no_id_is_refused(store, text):
    with pytest.raises(InvalidInput, match="invalid video id"):
        purge_video(store, store.root, text)


def test_nothing_is_removed_under_a_running_run(filled, store):
    _, video_id, _ = filled
    before = sorted(store.list())
    with new_run(store.root), pytest.raises(Unavailable, match="a run works on this store now"):
        purge_video(store, store.root, video_id)
    assert sorted(store.list()) == before
