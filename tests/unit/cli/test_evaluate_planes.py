"""`gim evaluate homography|hpatches|wxbs|megadepth1500|scannet1500` on tiny sets in the published layouts."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from gim import codecs
from gim.benchmarks.hpatches import EXCLUDED
from gim.cli import _evaluate_1500, _evaluate_planes
from gim.errors import ConfigError, InvalidInput
from tests.two_view_sets import (
    VIEW,
    room_views,
    write_hpatches,
    write_scannet,
    write_scene_info,
    write_wxbs,
)

QUICK = ("--set", "matcher.rootsift.max_keypoints=300", "--set", "run.threads=1")
_app = typer.Typer()
_evaluate_planes.add_commands(_app)
_evaluate_1500.add_commands(_app)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no store is named there is one in the folder of the caller."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    _app([*map(str, words), *QUICK], standalone_mode=False)
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    return dict(json.loads(said(capsys, *words, "--json")))


def write_all_pairs(path: Path, sequence: Path, *, number: int) -> Path:
    """A list of pairs of any two images of a sequence."""
    from_first = {1: np.eye(3)} | {other: np.loadtxt(sequence / f"H_1_{other}") for other in range(2, 7)}
    rows = []
    for first, second in list(permutations(from_first, 2))[:number]:
        H01 = from_first[second] @ np.linalg.inv(from_first[first])
        names = (f"{sequence.name}/{image}.ppm" for image in (first, second))
        rows.append(" ".join([*names, *map(repr, H01.ravel().tolist())]))
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hpatches(tmp_path_factory.mktemp("hpatches"), ["i_wall", EXCLUDED[0]])


@pytest.fixture(scope="module")
def megadepth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("megadepth")
    images, cameras = zip(*room_views(3), strict=True)
    paths = [f"Undistorted_SfM/0022/images/{index}.png" for index in range(3)]
    (root / paths[0]).parent.mkdir(parents=True)
    for path, image in zip(paths, images, strict=True):
        (root / path).write_bytes(codecs.encode_png(image))
    write_scene_info(root, "0022_0.1_0.3.npz", cameras, paths, [(0, 1), (1, 2)])
    return root


def test_hpatches_scores_light_and_viewpoint_beside_the_paper(
    capsys: pytest.CaptureFixture[str], sequences: Path
) -> None:
    found = told(capsys, "hpatches", sequences)
    assert (found["benchmark"], found["pairs"], found["failures"]) == ("hpatches", 5, 0)
    assert set(found["auc"]) == set(found["interval"]) == {"3", "5", "10"}
    assert found["auc"]["3"] > 80
    assert found["groups"]["illumination"]["auc"] == found["auc"]
    assert found["sequences"] == {"illumination": 1, "viewpoint": 0}
    assert found["protocol"]["id"] == "gim-1"
    assert found["size"]["name"] == "short-480"
    assert {row["method"]: row["auc"]["3"] for row in found["published"]}["GIM_DKM"] == 71.5
    assert found["published_is_comparable"]
    assert found["seconds"] > 0


def test_a_list_of_the_same_pairs_scores_the_same(capsys: pytest.CaptureFixture[str], sequences: Path) -> None:
    folder = sequences.parent / f"{sequences.name} of mine"  # no name for a key
    folder.symlink_to(sequences)
    path = write_all_pairs(folder / "pairs_h.txt", sequences / "i_wall", number=5)  # the first with all others
    strict = ("--protocol", "strict", "--size", "as-given")
    listed = told(capsys, "homography", path, *strict)
    assert (listed["pairs"], listed["groups"]["i_wall"]["pairs"]) == (5, 5)
    assert listed["auc"] == told(capsys, "hpatches", sequences, *strict)["auc"]
    assert listed["benchmark"] == folder.name
    assert "published" not in listed
    assert set(listed["spread"]) == {"3", "5", "10"}
    all_sequences = told(capsys, "hpatches", sequences, "--all", *strict)
    assert all_sequences["pairs"] == 10
    assert not all_sequences["published_is_comparable"]


def test_matches_are_kept_and_scored_again(capsys: pytest.CaptureFixture[str], sequences: Path, tmp_path: Path) -> None:
    pairs = write_all_pairs(sequences / "all_h.txt", sequences / "i_wall", number=17)
    kept = ("--store", tmp_path / "store")
    assert told(capsys, "homography", pairs, *kept, "--shard", "0/2") == {"shard": "0/2", "whole": False}
    first = told(capsys, "homography", pairs, *kept, "--shard", "1/2")
    assert first["pairs"] == 17
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert told(capsys, "homography", pairs, *kept)["auc"] == first["auc"]
    assert told(capsys, "homography", pairs, *kept, "--protocol", "strict")["auc"]["10"] > 80
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_people_are_shown_a_table_with_what_it_is_comparable_to(
    capsys: pytest.CaptureFixture[str], sequences: Path
) -> None:
    out = said(capsys, "hpatches", sequences, "--protocol", "strict")
    for words in ("  illumination", "GIM_LoFTR", "70.6", "not the 52 and 56 sequences", "arXiv 2402.11095"):
        assert words in out
    assert "those are to be compared with scores of protocol gim, not of strict" in out


def test_wxbs_is_scored_by_recall(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_wxbs(tmp_path, ["WGABS/petrzin", "WGBS/room"])
    found = told(capsys, "wxbs", root, "--protocol", "strict")
    assert (found["pairs"], set(found["groups"]), set(found["maa"])) == (1, {"WGBS"}, {"10", "20"})
    assert found["maa"]["20"] > 80
    assert found["recall"]["20"] >= found["recall"]["3"]
    assert "not the 32 pairs" in said(capsys, "wxbs", root, "--subset", "all")


def test_megadepth_is_scored_by_scene_beside_the_paper(capsys: pytest.CaptureFixture[str], megadepth: Path) -> None:
    found = told(capsys, "megadepth1500", megadepth, "--size", "as-given")
    assert (found["benchmark"], found["pairs"], found["failures"]) == ("megadepth1500", 2, 0)
    assert set(found["auc"]) == {"5", "10", "20"}
    assert found["auc"]["20"] > 80
    assert found["scenes"]["0022"]["auc"] == found["auc"]
    assert {row["method"]: row["auc"]["5"] for row in found["published"]}["LoFTR (out)"] == 52.8
    out = said(capsys, "megadepth1500", megadepth, "--protocol", "strict", "--size", "as-given")
    assert "not the 1500 pairs that others report: 2" in out


def test_scannet_is_scored_as_megadepth_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    images, cameras = zip(*room_views(2), strict=True)
    K = cameras[0].K.copy()
    K[0] *= 640 / VIEW[0]
    K[1] *= 480 / VIEW[1]
    write_scannet(tmp_path, cameras, [codecs.encode_png(image) for image in images], K=K)
    found = told(capsys, "scannet1500", tmp_path)
    assert (found["benchmark"], found["pairs"], set(found["scenes"])) == ("scannet1500", 1, {"scene0707_00"})
    assert found["size"]["name"] == "long-640"
    assert found["auc"]["20"] > 60


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hpatches", "SET", "--exclude", "i_wal"], "no sequence 'i_wal'"),
        (["hpatches", "SET", "--exclude", "i_wall", "--all"], "contradict each other"),
        (["hpatches", "SET", "--protocol", "glue-factory"], "no protocol of homographies 'glue-factory'"),
        (["hpatches", "SET", "--size", "large"], "no size 'large'"),
        (["homography", "SET/none.txt"], "cannot read the pairs"),
        (["wxbs", "SET"], "holds no pair of WxBS"),
        (["megadepth1500", "SET"], "holds neither"),
        (["scannet1500", "SET", "--shard", "0/2"], "holds neither"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_matched(
    capsys: pytest.CaptureFixture[str], sequences: Path, words: list[str], message: str
) -> None:
    with pytest.raises((InvalidInput, ConfigError), match=message):
        said(capsys, *(word.replace("SET", str(sequences)) for word in words))
