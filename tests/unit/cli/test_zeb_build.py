"""`gim zeb`: what is built is read by the reader of ZEB, verified file by file, and left whole or not at all."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gim.benchmarks.building.manifest import built_datasets
from gim.benchmarks.zeb import read_dataset
from gim.cli.main import run_command
from gim.geometry.pose import relative_pose
from tests.unit.benchmarks.building.posed_sources import room, write_colmap, write_kitti, write_transforms

KEY = "0123456789abcdef0123456789abcdef"


def gim(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, Any]:
    assert run_command([str(word) for word in words]) == code
    return dict(json.loads(capsys.readouterr().out))


def build(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *more: object) -> dict[str, Any]:
    kind = "colmap" if (source / "sparse").is_dir() else "transforms"
    return gim(capsys, "zeb", "build", source, out, "--name", "Room", "--from", kind, "--json", *more)


def test_a_built_benchmark_is_read_as_zeb_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = write_transforms(tmp_path / "my-room")
    said = build(capsys, source, tmp_path / "zeb" / "room", "--licence", "CC0")
    (dataset,) = built_datasets(tmp_path / "zeb")
    pairs = read_dataset(tmp_path / "zeb", dataset)
    assert (dataset.name, dataset.folder, dataset.num_scenes) == ("Room", "room", 1)
    assert len(pairs) == dataset.num_pairs == said["pairs"] > 5
    assert {pair.scene for pair in pairs} == {"my_room"}
    for pair in pairs:
        cameras = [room().cameras[int(name.split("-")[1].removesuffix(".png"))] for name in (pair.image0, pair.image1)]
        np.testing.assert_allclose(pair.K0, cameras[0].K, atol=1e-9)
        expected = relative_pose(*(camera.T_camera_to_world for camera in cameras))
        np.testing.assert_allclose(pair.T_0to1, expected, atol=1e-6)
        assert 0.1 <= min(pair.overlap0, pair.overlap1) <= 1
        # A PNG without distortion is the source's own file.
        linked = source / "images" / pair.image0.removeprefix("my_room-")
        assert (tmp_path / "zeb" / "room" / pair.image0).samefile(linked)
    (itself,) = built_datasets(tmp_path / "zeb" / "room")
    assert len(read_dataset(tmp_path / "zeb" / "room", itself)) == len(pairs)


@pytest.mark.parametrize("where", ["zeb", "zeb/room"])
def test_a_built_benchmark_is_evaluated(capsys: pytest.CaptureFixture[str], tmp_path: Path, where: str) -> None:
    num_pairs = build(capsys, write_transforms(tmp_path / "room"), tmp_path / "zeb" / "room")["pairs"]
    places = ["--store", tmp_path / "store", "--out", tmp_path / "results"]
    page = tmp_path / "page.html"
    found = gim(capsys, "evaluate", "zeb", tmp_path / where, *places, "--html", page, "--json")
    assert found["pairs"] == found["datasets"]["Room"]["pairs"] == num_pairs
    assert found["missing"] == []
    assert found["auc"]["20"] > 50
    assert page.read_text().count("matches are right") == min(num_pairs, 5)  # the worst are drawn
    assert (tmp_path / "results" / "[T] rootsift            Room gim-1.txt").exists()


def test_the_same_source_gives_the_same_digest_and_a_seed_another(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = write_colmap(tmp_path / "room")
    digests = [
        build(capsys, source, tmp_path / str(number), "--seed", seed, "--pairs-per-scene", 4)["digest"]
        for number, seed in enumerate((0, 0, 5))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_bent_image_is_written_straight(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    build(capsys, write_transforms(tmp_path / "room", k1=0.1), tmp_path / "out")
    (dataset,) = built_datasets(tmp_path / "out")
    pair = read_dataset(tmp_path / "out", dataset)[0]
    image = cv2.imread(str(tmp_path / "out" / pair.image0))
    assert image is not None
    assert image.shape[1] < room().cameras[0].width
    assert pair.K0[0, 0] == room().cameras[0].K[0, 0]
    assert pair.K0[0, 2] < room().cameras[0].K[0, 2]


def test_verify_names_what_changed_is_missing_or_extra(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, key = tmp_path / "out", tmp_path / "key"
    key.write_text(KEY + "\n")
    source = write_transforms(tmp_path / "room", k1=0.1)  # not linked: the test writes into what was built
    digest = build(capsys, source, out, "--sign-key", key)["digest"]
    whole = gim(capsys, "zeb", "verify", out, "--sign-key", key, "--digest", digest, "--json")
    assert whole["faults"] == []
    texts = sorted(out.glob("*.txt"))
    texts[0].unlink()
    texts[1].write_text(texts[1].read_text().replace("0.", "1.", 1))
    (out / "guest.png").write_bytes(b"x")
    (out / "manifest.json.sig").write_bytes(b"x")
    found = gim(capsys, "zeb", "verify", out, "--json", code=1)["faults"]
    assert {(fault["file"], fault["kind"]) for fault in found} == {
        (texts[0].name, "missing"),
        (texts[1].name, "changed"),
        ("guest.png", "extra"),
    }


def test_a_changed_manifest_does_not_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, key, other = tmp_path / "out", tmp_path / "key", tmp_path / "other"
    key.write_text(KEY)
    other.write_text(KEY[::-1])
    build(capsys, write_transforms(tmp_path / "room"), out, "--sign-key", key)
    path = out / "manifest.json"
    document = json.loads(path.read_text())
    document["licence"] = "CC0"
    path.write_text(json.dumps(document))
    kinds = [
        fault["kind"] for fault in gim(capsys, "zeb", "verify", out, "--sign-key", key, "--json", code=1)["faults"]
    ]
    assert kinds == ["digest", "signature"]
    document["licence"] = "unknown"
    path.write_text(json.dumps(document))
    (fault,) = gim(capsys, "zeb", "verify", out, "--sign-key", other, "--json", code=1)["faults"]
    assert fault["kind"] == "signature"
    (fault,) = gim(capsys, "zeb", "verify", out, "--digest", "0" * 16, "--json", code=1)["faults"]
    assert "published" in fault["why"]


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run_command([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_built_leaves_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, out = write_transforms(tmp_path / "room"), tmp_path / "built" / "out"
    base = ["zeb", "build", source, out, "--name", "Room", "--from", "transforms"]
    assert "no pair of 1 scenes" in refused(capsys, *base, "--min-overlap", 0.9999)
    short = tmp_path / "key"
    short.write_text("secret")
    assert "6 bytes, expected at least 32" in refused(capsys, *base, "--sign-key", short)
    assert "one of ZEB's own" in refused(capsys, *base[:5], "KITTI", *base[6:])
    cv2.imwrite(str(source / "images" / "002.png"), np.zeros((50, 60, 3), np.uint8))
    assert "002.png: 60x50 pixels, but its camera has 160x120" in refused(capsys, *base)
    assert list(out.parent.iterdir()) == []
    out.mkdir()
    (out / "x").write_text("")
    assert "not empty" in refused(capsys, *base)
    kitti = write_kitti(tmp_path / "kitti")
    assert "--depth DIR" in refused(capsys, "zeb", "build", kitti, tmp_path / "k", "--name", "K", "--from", "kitti")
    assert not (tmp_path / "k").exists()


def test_a_leak_is_named_and_fails_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = write_transforms(tmp_path / "room")
    build(capsys, source, tmp_path / "out")
    found = gim(capsys, "zeb", "leak", tmp_path / "out", source / "images" / "003.png", "--json", code=1)
    assert "room-003.png" in {leak["image"] for leak in found["leaks"]}
    assert found["num_frames"] == 1


def test_tables_are_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, out = write_transforms(tmp_path / "room"), tmp_path / "out"
    assert run_command(["zeb", "build", str(source), str(out), "--name", "Room", "--from", "transforms"]) == 0
    said = capsys.readouterr().out
    assert "too few: room, overlap" in said
    assert "digest " in said
    assert run_command(["zeb", "verify", str(out)]) == 0
    assert "0 faults" in capsys.readouterr().out
