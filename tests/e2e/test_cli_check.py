"""`gim check` on a store a real run has made."""

import json

import numpy as np
import pytest

from gim.cli.main import run_command
from gim.synthetic.truth import ClipTruth
from tests.labelled_clip import label_clip

_KITTI_INTRINSICS = "707.0912,707.0912,601.8873,183.1104"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return label_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def poses(clip, tmp_path_factory):
    """The truth of the clip as a person with poses would have it."""
    truth = ClipTruth.load(clip.truth)
    path = tmp_path_factory.mktemp("poses") / "poses.txt"
    np.savetxt(path, np.concatenate([shot.poses[:, :3].reshape(-1, 12) for shot in truth.shots]))
    K = truth.K
    return ["--poses", str(path), "--intrinsics", f"{K[0, 0]},{K[1, 1]},{K[0, 2]},{K[1, 2]}"]


def _check(capsys, *words):
    code = run_command(["check", "--json", *words])
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert code == 0
    return result


def test_the_truth_of_a_clip_gives_both_errors(clip, capsys):
    result = _check(capsys, "--store", str(clip.root), "--truth", str(clip.truth))
    assert (result["video_id"], result["recipe_id"]) == (clip.video_id, clip.recipe_id)
    *intervals, every = result["pairs"]
    assert every["interval_seconds"] is None
    assert every["num_pairs"] == sum(score["num_pairs"] for score in intervals)
    assert [score["interval_seconds"] for score in intervals] == sorted(s["interval_seconds"] for s in intervals)
    assert every["epipolar"]["median_px"] < 0.5
    assert every["epipolar"]["within_2px"] > 0.95
    assert every["point"]["median_px"] > every["epipolar"]["median_px"]
    assert result["base"] == {}


def test_poses_give_the_same_epipolar_errors_as_the_truth(clip, poses, capsys):
    by_truth = _check(capsys, "--store", str(clip.root), "--truth", str(clip.truth), "--base")
    by_poses = _check(capsys, "--store", str(clip.root), *poses, "--video", clip.video_id, "--base")
    for ours, theirs in zip(by_poses["pairs"], by_truth["pairs"], strict=True):
        assert ours["point"] is None
        assert ours["epipolar"] == pytest.approx(theirs["epipolar"], abs=1e-3)
    (base,) = by_poses["base"].values()
    assert base[-1]["num_pairs"] > by_poses["pairs"][-1]["num_pairs"]


def test_people_read_a_table(clip, capsys):
    assert run_command(["check", "--store", str(clip.root), "--truth", str(clip.truth)]) == 0
    out = capsys.readouterr().out
    assert "all" in out
    assert "exact" in out
    assert "…" not in out.split("\n", 1)[1]


def test_a_report_shows_the_scores(clip, tmp_path, capsys):
    command = ["check", "--store", str(clip.root), "--truth", str(clip.truth), "--report", str(tmp_path / "r.html")]
    assert run_command(command) == 0
    assert "against known camera poses" in (tmp_path / "r.html").read_text()


def test_bad_input_is_one_line(clip, poses, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    (tmp_path / "bad.json").write_text("{}")
    store = ["--store", str(clip.root)]
    for words, said in [
        (store, "give either --truth, or both"),
        ([*store, *poses[:2]], "give either --truth, or both"),
        ([*store, "--poses", str(tmp_path / "short.txt"), *poses[2:]], "has 1 poses, too few for frame"),
        ([*store, *poses[:2], "--intrinsics", "500,500,640,360"], "not near the middle of frames of 320x180"),
        ([*store, "--truth", str(tmp_path / "bad.json")], "bad.json"),
        ([*store, "--truth", str(clip.truth), "--recipe-id", "x"], "no finished result of recipe x"),
        (["--store", str(tmp_path / "none"), "--truth", str(clip.truth)], "no store here"),
    ]:
        assert run_command(["check", *words]) == 2, words
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err


@pytest.mark.shared
def test_posed_driving_video_is_right(shared_data, tmp_path, capsys):
    videos = shared_data / "data" / "videos"
    store = ["--store", str(tmp_path / "s")]
    assert run_command(["run", str(videos / "kitti06_5s.mp4"), *store, "--quiet"]) == 0
    poses = ["--poses", str(videos / "kitti06_5s_poses.txt"), "--intrinsics", _KITTI_INTRINSICS]
    result = _check(capsys, *store, *poses)
    assert result["pairs"][-1]["num_pairs"] >= 10
    assert result["pairs"][-1]["epipolar"]["within_2px"] > 0.7
