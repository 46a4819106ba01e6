"""A store whose work stopped at every step, finished again to the same bytes."""

import shutil
from contextlib import closing

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, Unavailable
from gim.runtime.chains import Chains
from gim.runtime.reconcile import reconcile
from gim.runtime.run_folder import new_run
from gim.settings import Settings
from gim.video.config import SourceConfig
from gim.video.sources.expand import expand_source
from gim.video.sources.fetch import fetch_source
from tests.labelled_clip import SETS, label_clip, settings
from tests.unit.video.media import write_audio


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    made = label_clip(tmp_path_factory.mktemp("clip"))
    (made.root.parent / "clip.mp4").unlink()  # the store has the file: the source is not asked for again
    return made


@pytest.fixture
def root(clip, tmp_path):
    shutil.copytree(clip.root, tmp_path / "s")
    return tmp_path / "s"


def _objects(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }


def _lose(root, *patterns):
    for pattern in patterns:
        found = list(root.glob(pattern))
        assert found, pattern
        for path in found:
            path.unlink()


def test_a_finished_store_is_left_alone(root):
    before = _objects(root)
    result = reconcile(settings(root), verify=True, prune=True)
    assert (result.videos, result.orphans, result.damaged, result.exit_code) == ([], [], [], 0)
    assert _objects(root) == before


@pytest.mark.parametrize(
    ("lost", "lacks"),
    [
        (["pairs/*/*/manifest.json"], "pairs"),
        (["pairs/*/*/*"], "pairs"),
        (["pairs/*/*/*", "labels/*/*/*/*"], "labels"),
        (["pairs/*/*/manifest.json", "labels/*/*/*/*0.npz"], "labels"),
        (["pairs/*/*/*", "labels/*/*/*/*", "frames/*/*/manifest.json", "frames/*/*/*0.jpg"], "frames"),
        (["pairs/*/*/*", "labels/*/*/*/*", "frames/*/*/*"], "frames"),
    ],
)
def test_whatever_was_lost_is_made_again_to_the_same_bytes(clip, root, lost, lacks):
    before = _objects(root)
    _lose(root, *lost)
    (found,) = reconcile(settings(root), dry_run=True).videos
    assert (found.video_id, found.lacks, found.status) == (clip.video_id, lacks, "stopped")
    result = reconcile(settings(root))
    assert [(video.status, video.error) for video in result.videos] == [("finished", "")]
    assert result.videos[0].num_pairs > 0
    assert result.exit_code == 0
    assert _objects(root) == before


def test_a_video_finished_under_other_settings_is_left_alone(root):
    before = _objects(root)
    changed = Settings.load([f"store={root}", "sampling.interval_seconds=0.4"], environ={})
    assert reconcile(changed).videos == []
    assert _objects(root) == before


def test_work_begun_under_these_settings_is_finished_beside_a_result_of_others(clip, root):
    changed = Settings.load([f"store={root}", *SETS, "propagation.min_kept=40"], environ={})
    assert reconcile(changed).videos == []
    with closing(FileStore(root)) as store:
        recipe = next(name for name in Chains(store, root, changed).in_work() if name.startswith("standard-"))
        store.put(keys.pairs_shard(clip.video_id, recipe, 0), b"half")
    result = reconcile(changed)
    assert [video.lacks for video in result.videos] == ["pairs"]
    assert result.videos[0].status == "finished"
    assert len(list((root / "pairs" / clip.video_id).iterdir())) == 2


def test_damage_is_found_and_made_good(clip, root):
    before = _objects(root)
    shard = next(root.glob("pairs/*/*/00000.tar"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    found = reconcile(settings(root), verify=True)
    assert [item.prefix for item in found.damaged] == [f"pairs/{clip.video_id}/{clip.recipe_id}/"]
    assert "00000.tar has changed" in found.damaged[0].why
    assert found.exit_code == 2
    assert reconcile(settings(root), verify=True, prune=True, dry_run=True).exit_code == 2
    mended = reconcile(settings(root), verify=True, prune=True)
    assert (mended.exit_code, mended.videos[0].status) == (0, "finished")
    assert _objects(root) == before


@pytest.mark.parametrize("lost", ["pairs/*/*/00000.tar", "pairs/*/*/index.json"])
def test_a_part_of_a_result_that_is_gone_is_damage(root, lost):
    before = _objects(root)
    _lose(root, lost)
    assert len(reconcile(settings(root), verify=True).damaged) == 1
    reconcile(settings(root), verify=True, prune=True)
    assert _objects(root) == before


def test_another_file_in_place_of_the_source_is_not_taken_for_it(clip, root):
    _lose(root, "pairs/*/*/*", "labels/*/*/*/*", "frames/*/*/*")
    source = next(root.glob("videos/*/source.mp4"))
    source.write_bytes(source.read_bytes() + b"x")
    result = reconcile(settings(root), verify=True, prune=True)
    assert result.exit_code == 2
    assert "purge it and run its source again" in result.videos[0].error
    assert source.exists()
    assert [path.name for path in (root / "videos").iterdir()] == [clip.video_id]


def test_a_meta_nobody_can_read_does_not_stop_the_others(clip, root):
    _lose(root, "pairs/*/*/manifest.json")
    bad = root / "videos" / "file-0000000000000001"
    bad.mkdir()
    (bad / "meta.json").write_text("{")
    result = reconcile(settings(root))
    assert {video.video_id: video.status for video in result.videos} == {
        "file-0000000000000001": "failed",
        clip.video_id: "finished",
    }
    assert result.exit_code == 2


def test_orphans_are_reported_and_removed_only_when_asked(clip, root):
    before = _objects(root)
    for key in (
        f"frames/{clip.video_id}/old-00000000/00000000.jpg",
        f"labels/{clip.video_id}/old-00000000/m-00000000/00000.npz",
        f"pairs/{clip.video_id}/old-00000000/00000.tar",
        "videos/file-0000000000000001/source.mp4",
        "pairs/yt-00000000000/old-00000000/00000.tar",
    ):
        (root / key).parent.mkdir(parents=True)
        (root / key).write_bytes(b"left")
    found = reconcile(settings(root))
    assert sorted(item.prefix for item in found.orphans) == sorted(
        [
            f"frames/{clip.video_id}/old-00000000/",
            f"labels/{clip.video_id}/old-00000000/",
            f"pairs/{clip.video_id}/old-00000000/",
            "videos/file-0000000000000001/",
            "pairs/yt-00000000000/",
        ]
    )
    assert {item.num_bytes for item in found.orphans} == {4}
    assert (found.removed, found.exit_code) == ([], 0)
    with new_run(root), pytest.raises(Unavailable, match="prune when it has ended"):
        reconcile(settings(root), prune=True)
    assert len(reconcile(settings(root), prune=True).removed) == 5
    assert _objects(root) == before


def test_a_folder_that_is_no_store_is_not_made_one(tmp_path):
    with pytest.raises(ConfigError, match="no store here"):
        reconcile(settings(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_video_that_is_refused_when_it_is_taken_up_leaves_the_store(tmp_path):
    source = tmp_path / "talk.mp4"
    write_audio(source)
    root = tmp_path / "s"
    with closing(FileStore(root)) as store:  # as a run leaves it that is killed after the fetch
        (found,) = expand_source(str(source), SourceConfig())
        meta = fetch_source(found, store, SourceConfig(), work_dir=tmp_path / "work")
    shown = []
    result = reconcile(settings(root), on_snapshot=shown.append)
    (video,) = result.videos
    assert (video.video_id, video.status, result.exit_code) == (meta.video_id, "failed", 2)
    assert "no video stream" in video.error
    assert _objects(root).keys() == {"gim-store.json"}
    assert shown[-1].num_videos == 1
    assert reconcile(settings(root)).videos == []
