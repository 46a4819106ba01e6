"""`gim evaluate aachen` and `inloc` from end to end, on a rendered room whose cameras, points and scans are exact."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import pytest
import typer

from gim import codecs
from gim.cli import _evaluate_localisation
from gim.errors import InvalidInput, Unavailable
from gim.localisation.aachen import Aachen, localise_aachen
from gim.localisation.config import AACHEN, INLOC
from gim.localisation.inloc import InLoc, localise_inloc
from gim.localisation.submission import pose_error, read_submission
from gim.localisation.workplace import Workplace, alone_in
from gim.matchers.base import Matcher
from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.records import Correspondences
from tests.unit.localisation.written_scene import QUERIES, write_aachen, write_inloc

QUICK = ("--max-side", "0", "--set", "matcher.rootsift.max_keypoints=500", "--set", "run.threads=1")
# Half a pixel is 0.15 degrees here, and so is what a confusion of the two origins would cost.
MOST_METRES, MOST_DEGREES = 0.01, 0.05


class Killed(BaseException):
    """What no code of ours catches."""


@dataclass(frozen=True)
class Run:
    """A command with `--json`, and what it said."""

    run: Callable[..., dict[str, Any]]
    root: Path
    out: Path

    def __call__(self, *words: str) -> dict[str, Any]:
        return self.run(self.root.name, str(self.root), "--out", str(self.out), *QUICK, *words)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    app = typer.Typer()
    _evaluate_localisation.add_commands(app)

    def run_once(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        app([*words, "--json"], standalone_mode=False)
        return dict(json.loads(capsys.readouterr().out))

    return run_once


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("localisation")
    write_aachen(folder / "aachen")
    write_inloc(folder / "inloc")
    return folder


@pytest.fixture
def good_aachen(run: Callable[..., dict[str, Any]], written: Path) -> Run:
    """One that no test changes, with the work of earlier tests."""
    return Run(run, written / "aachen", written / "out")


@pytest.fixture
def aachen(run: Callable[..., dict[str, Any]], written: Path, tmp_path: Path) -> Run:
    shutil.copytree(written / "aachen", tmp_path / "aachen")
    return Run(run, tmp_path / "aachen", tmp_path / "out")


@pytest.fixture
def inloc(run: Callable[..., dict[str, Any]], written: Path, tmp_path: Path) -> Run:
    shutil.copytree(written / "inloc", tmp_path / "inloc")
    return Run(run, tmp_path / "inloc", tmp_path / "out")


def _assert_exact(found: dict[str, Any], truth_file: Path) -> None:
    truth, poses = read_submission(truth_file), read_submission(Path(found["submission"]))
    assert set(poses) == set(truth)
    for name, pose in poses.items():
        metres, degrees = pose_error(pose, truth[name])
        assert metres < MOST_METRES, name
        assert degrees < MOST_DEGREES, name


@pytest.mark.parametrize("more", [(), ("--clusters",)])
def test_aachen_queries_localise_within_a_centimetre(good_aachen: Run, more: tuple[str, ...]) -> None:
    truth = good_aachen.root / "truth.txt"
    found = good_aachen("--truth", str(truth), *more)
    assert {key: found[key] for key in ("queries", "localised", "failures", "stand_ins", "notes")} == {
        "queries": 2, "localised": 2, "failures": 0, "stand_ins": 0, "notes": [],
    }  # fmt: skip
    assert found["recall"]["all"] == {"0.25m/2deg": 100.0, "0.5m/5deg": 100.0, "1m/10deg": 100.0}
    assert set(found["recall"]) == {"all", "day", "night"}
    _assert_exact(found, truth)
    lines = Path(found["submission"]).read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["a.jpg", "b.jpg"]
    assert {len(line.split()) for line in lines} == {8}


def test_inloc_queries_localise_within_a_centimetre(inloc: Run) -> None:
    truth = inloc.root / "truth.txt"
    found = inloc("--truth", str(truth))
    assert (found["queries"], found["localised"], found["failures"]) == (2, 2, 0)
    assert found["recall"] == {"all": {"0.25m/10deg": 100.0, "0.5m/10deg": 100.0, "1m/10deg": 100.0}}
    _assert_exact(found, truth)


class NearestOnly(Matcher):
    """A matcher that says where things correspond, and has no keypoints of its own."""

    name = "nearest-only"

    def match(self, image0: Any, image1: Any, mask0: Any = None, mask1: Any = None) -> Correspondences:
        found = RootSift(RootSiftConfig(max_keypoints=500)).match(image0, image1)
        return Correspondences(found.points, found.confidence)


@pytest.mark.parametrize("benchmark", ["aachen", "inloc"])
def test_a_matcher_without_keypoints_localises_on_shrunk_images(written: Path, tmp_path: Path, benchmark: str) -> None:
    root, matcher = written / benchmark, NearestOnly(None)
    with ThreadPoolExecutor(1) as executor:
        if benchmark == "aachen":
            aachen, config = Aachen.read(root, None), replace(AACHEN, max_side_px=200, merge_px=1.0)
            place = Workplace(matcher, aachen.images, tmp_path, config, executor, lambda *_: None)
            found = localise_aachen(aachen, place, None)
        else:
            inloc, config = InLoc.read(root, None), replace(INLOC, max_side_px=200)
            found = localise_inloc(inloc, Workplace(matcher, root, tmp_path, config, executor, lambda *_: None), None)
    assert not found.failures
    assert not list(tmp_path.glob("*.parts"))
    truth = read_submission(root / "truth.txt")
    for name, pose in read_submission(found.submission).items():
        metres, degrees = pose_error(pose, truth[name])
        assert metres < 3 * MOST_METRES, name
        assert degrees < 3 * MOST_DEGREES, name


def test_a_second_run_matches_nothing_again(good_aachen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = good_aachen()
    assert "recall" not in first
    text = Path(first["submission"]).read_text()
    monkeypatch.setattr("gim.matchers.rootsift.RootSift.extract", None)
    monkeypatch.setattr("gim.matchers.rootsift.RootSift.match_features", None)
    monkeypatch.setattr("gim.localisation.triangulation._triangulate", None)
    assert Path(good_aachen()["submission"]).read_text() == text


def test_a_run_killed_while_matching_goes_on(aachen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gim.localisation.matching._ITEMS_PER_PART", 4)
    match, calls = RootSift.match_features, []

    def match_until_killed(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 7:
            raise Killed
        return match(*arguments)

    monkeypatch.setattr(RootSift, "match_features", match_until_killed)
    with pytest.raises(Killed):
        aachen()
    (parts,) = aachen.out.glob("aachen/*/matches.h5.parts")
    with h5py.File(parts / "000000.h5") as file:
        assert sum(len(group) for group in file.values()) == 4
    calls.clear()
    monkeypatch.setattr(RootSift, "match_features", lambda *arguments: calls.append(arguments) or match(*arguments))
    found = aachen()
    assert found["localised"] == 2
    assert len(calls) == 10 + 10 - 4  # pairs of the database, of the queries
    assert not parts.exists()


def test_a_query_without_matches_is_a_failure_with_a_reason(aachen: Run) -> None:
    blank = aachen.root / "images" / "images_upright" / QUERIES[0]
    image = codecs.decode_image(blank.read_bytes())
    blank.write_bytes(codecs.encode_jpeg(image * 0 + 127))
    pairs = aachen.root / "pairs-query-all.txt"
    pairs.write_text("".join(line for line in pairs.read_text().splitlines(keepends=True) if "query/day" in line))
    found = aachen("--truth", str(aachen.root / "truth.txt"))
    assert (found["queries"], found["localised"], found["failures"], found["stand_ins"]) == (2, 0, 2, 1)
    assert found["failed"][QUERIES[0]] == "0 matches with a place in the world, 4 are needed"
    assert found["failed"][QUERIES[1]] == "no image is retrieved for it"
    # As in hloc, the first retrieved image stands in for the one; the other is not in the file at all.
    assert set(read_submission(Path(found["submission"]))) == {"a.jpg"}
    assert found["recall"]["night"] == {"0.25m/2deg": 0.0, "0.5m/5deg": 0.0, "1m/10deg": 0.0}
    told = json.loads(Path(found["submission"]).with_name("queries.json").read_text())
    assert [item["name"] for item in told] == list(QUERIES)


def test_intrinsics_of_another_size_are_noted(aachen: Run) -> None:
    path = aachen.root / "queries" / "day_time_queries_with_intrinsics.txt"
    path.write_text(path.read_text().replace("240 180", "480 360"))
    assert aachen()["notes"] == [f"{QUERIES[0]} is 240x180 pixels, its intrinsics are for 480x360"]


def test_two_processes_do_not_work_in_one_folder(good_aachen: Run) -> None:
    place = Path(good_aachen()["submission"]).parent
    with alone_in(place), pytest.raises(Unavailable, match="another process is at work in it"):
        good_aachen()


def _remove(name: str) -> Callable[[Path], object]:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def _append(name: str, line: str) -> Callable[[Path], object]:
    def append(root: Path) -> None:
        with (root / name).open("a") as file:
            file.write(line)

    return append


DAY = "queries/day_time_queries_with_intrinsics.txt"
PAIRS = "pairs-query-all.txt"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_remove("3D-models"), "lacks 3D-models/aachen_v_1_1/; it is laid out as hloc's"),
        (_remove("images"), "lacks images/images_upright/; "),
        (_remove("3D-models/aachen_v_1_1/images.bin"), "3D-models/aachen_v_1_1: not a readable COLMAP model"),
        (_remove(PAIRS), "pairs-query-*.txt: no such list of retrieved images; give --retrieval FILE: hloc has one"),
        (_append(DAY, "query/day/x.jpg\n"), f"{DAY}, line 2: query/day/x.jpg has no intrinsics"),
        (_append(PAIRS, "query/day/x.jpg db/0.jpg\n"), f"{PAIRS}, line 11: query/day/x.jpg is no query"),
        (_append(PAIRS, f"{QUERIES[0]} db/77.jpg\n"), f"{PAIRS}, line 11: db/77.jpg is not in the model"),
        (_remove("images/images_upright/db/3.jpg"), "images_upright/db/3.jpg: no such image; 1 that the pairs name"),
        (_append("truth.txt", "c.jpg 1 0 0 0 0 0 0\n"), "truth.txt: c.jpg is no query of the dataset"),
    ],
)
def test_what_is_wrong_with_aachen_is_one_line(aachen: Run, damage: Callable[[Path], object], said: str) -> None:
    damage(aachen.root)
    with pytest.raises(InvalidInput) as caught:
        aachen("--truth", str(aachen.root / "truth.txt"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(aachen.out.glob("**/*.h5"))


CUTOUT = "database/cutouts/DUC1/024/DUC_cutout_024_0_0.jpg"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_remove("database/alignments"), "lacks database/alignments/; it is laid out as hloc's"),
        (_remove("query"), "lacks query/iphone7/; "),
        (_remove(f"{CUTOUT}.mat"), f"{CUTOUT}.mat: no such scan"),
        (
            _append(PAIRS, "query/iphone7/IMG_0000.JPG database/cutouts/x.jpg\n"),
            "line 11: database/cutouts/x.jpg is not",
        ),
    ],
)
def test_what_is_wrong_with_inloc_is_one_line(inloc: Run, damage: Callable[[Path], object], said: str) -> None:
    damage(inloc.root)
    with pytest.raises(InvalidInput) as caught:
        inloc()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
