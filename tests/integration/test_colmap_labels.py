"""COLMAP labels of a rendered clip: as right as the truth says, stored like any result, and honest about failure."""

import json
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.reconstruction.run import Work
from gim.records import FrameManifest
from gim.stages.colmap_labels import ColmapLabelConfig, label_video
from tests.labelled_clip import LabelledClip, label_clip

FEW = ColmapLabelConfig(min_points=15)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> LabelledClip:
    return label_clip(tmp_path_factory.mktemp("clip"))


def frames_of(store: FileStore) -> FrameManifest:
    (key,) = [key for key in store.list("frames/") if key.endswith("/manifest.json")]
    return codecs.from_json(FrameManifest, store.get(key))


def test_labels_stand_beside_propagated_ones_and_are_checked_like_them(
    clip: LabelledClip, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["colmap-labels", "--store", str(clip.root), "--min-points", "15", "--json"]
    assert run_command(command) == 0
    (made,) = json.loads(capsys.readouterr().out)["videos"]
    assert (made["clips"], made["clips_failed"], made["failed_share"]) == (1, 0, 0.0)
    assert made["frames_registered"] > 0.8 * made["frames"]
    assert made["pairs"] > 3
    assert run_command(["check", *clip.arguments, "--truth", str(clip.truth), "--json"]) == 0
    checked = {item["recipe_id"]: item for item in json.loads(capsys.readouterr().out)["results"]}
    assert set(checked) == {clip.recipe_id, made["recipe_id"]}
    overall = checked[made["recipe_id"]]["pairs"][-1]
    assert overall["num_correspondences"] == made["correspondences"]
    assert overall["epipolar"]["median_px"] < 1
    assert overall["point"]["median_px"] < 1
    before = {path: path.stat().st_mtime_ns for path in clip.root.rglob("pairs/**/*") if path.is_file()}
    assert run_command(command) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == [made]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_funnel_adds_up_when_few_frames_are_taken(clip: LabelledClip, tmp_path: Path) -> None:
    store = FileStore(clip.root)
    manifest = frames_of(store)
    config = ColmapLabelConfig(clip_frames=12, num_frames=3, min_points=15)
    labelled = label_video(store, manifest, RootSift(RootSiftConfig()), config, work=Work(), work_dir=tmp_path)
    funnel, rate = labelled.pairs.funnel, labelled.rate
    assert rate.clips > 1
    assert rate.frames <= 3 * rate.clips
    assert funnel.frames_used + sum(funnel.frames_rejected.values()) == funnel.frames_sampled
    assert funnel.pairs_kept + sum(funnel.starts_rejected.values()) == funnel.starts == rate.frames - rate.clips
    assert sum(funnel.chain_ends.values()) == funnel.pairs_kept == labelled.pairs.num_pairs
    assert list(tmp_path.iterdir()) == []
    store.close()


def test_a_clip_without_a_model_is_a_counted_failure(clip: LabelledClip, tmp_path: Path) -> None:
    store = FileStore(clip.root)
    blind = RootSift(RootSiftConfig(max_keypoints=10))
    labelled = label_video(store, frames_of(store), blind, FEW, work=Work(), work_dir=tmp_path)
    assert (labelled.rate.clips, labelled.rate.clip_share, labelled.rate.frame_share) == (1, 1.0, 1.0)
    assert labelled.pairs.num_pairs == 0
    assert labelled.pairs.rejected == "no_model"
    assert set(labelled.pairs.funnel.starts_rejected) == {"no_model"}
    store.close()


def test_videos_that_cannot_be_labelled_are_one_line(
    clip: LabelledClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FileStore(tmp_path / "empty", create=True).close()
    assert run_command(["colmap-labels", "--store", str(tmp_path / "empty")]) == 2
    assert "the store has no frames of any video" in capsys.readouterr().err
    other = keys.file_video_id("0" * 64)
    assert run_command(["colmap-labels", other, "--store", str(clip.root)]) == 2
    assert f"{other}: has no frames" in capsys.readouterr().err
