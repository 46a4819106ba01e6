"""`gim evaluate pairs`: valid JSON whatever is found, matches kept on request, shards that need a store."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gim import codecs
from gim.cli.main import run_command
from gim.evaluation import passes
from tests.posed_scene import write_scene

NUM_PAIRS = 3
QUICK = ("--set", "matcher.rootsift.max_keypoints=500", "--set", "run.threads=1")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs whose overlap is not known, `nan` in their file."""
    return write_scene(tmp_path_factory.mktemp("scene") / "room", num_pairs=NUM_PAIRS)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def evaluate(capsys: pytest.CaptureFixture[str], scene: Path, *more: str) -> dict[str, Any]:
    assert run_command(["evaluate", "pairs", str(scene / "pairs.txt"), "--json", *QUICK, *more]) == 0
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    return dict(json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))


def test_pairs_without_a_known_overlap_are_scored_in_valid_json(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path
) -> None:
    assert " nan\n" in (scene / "pairs.txt").read_text()
    said = evaluate(capsys, scene)
    assert (said["benchmark"], said["pairs"], said["failures"]) == ("room", NUM_PAIRS, 0)
    assert said["protocol"]["id"] == "strict-1"
    assert said["auc"]["20"] > 60
    assert said["precision_before"] > 50
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]
    assert list(Path.cwd().iterdir()) == []  # nothing is left without --store


@pytest.mark.parametrize("protocol", ["gim", "strict"])
def test_failures_everywhere_score_zero_in_valid_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, protocol: str
) -> None:
    folder = write_scene(tmp_path / "grey", num_pairs=2)
    for image in (folder / "images").iterdir():
        image.write_bytes(codecs.encode_png(np.full((150, 200, 3), 90, np.uint8)))
    said = evaluate(capsys, folder, "--protocol", protocol)
    assert (said["pairs"], said["failures"], said["matches"]) == (2, 2, 0)
    assert said["auc"] == {"5": 0, "10": 0, "20": 0}
    assert said["interval"]["5"] == [0, 0]


def test_matches_are_kept_on_request_and_shared_by_protocols(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, matched: list[int]
) -> None:
    store = ("--store", str(tmp_path / "store"))
    kept = evaluate(capsys, scene, *store)
    assert len(matched) == NUM_PAIRS
    assert evaluate(capsys, scene, *store)["auc"] == kept["auc"]
    evaluate(capsys, scene, *store, "--protocol", "gim")
    assert len(matched) == NUM_PAIRS
    assert evaluate(capsys, scene)["auc"] == kept["auc"]
    assert len(matched) == 2 * NUM_PAIRS


def test_shards_meet_in_a_store_and_nowhere_else(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "CHUNK", 1)
    assert run_command(["evaluate", "pairs", str(scene / "pairs.txt"), "--shard", "0/2"]) == 2
    assert "the shards meet in a store; name one with --store" in capsys.readouterr().err
    store = ("--store", str(tmp_path / "store"))
    assert evaluate(capsys, scene, *store, "--shard", "0/2") == {"shard": "0/2", "whole": False}
    assert run_command(["evaluate", "pairs", str(scene / "pairs.txt"), *store, *QUICK, "--shard", "0/2"]) == 0
    assert "shard 0/2 is done; the same command without --shard" in capsys.readouterr().out
    assert evaluate(capsys, scene, *store, "--shard", "1/2")["auc"] == evaluate(capsys, scene)["auc"]
