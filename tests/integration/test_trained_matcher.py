"""The circle closes: a film's labels train a matcher, which labels the film anew and is scored as any other."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from gim.labels.shards import read_shard
from gim.records import CheckpointManifest, PairsManifest, TrainingPair
from tests.labelled_clip import LabelledClip, label_clip
from tests.two_view_sets import write_hpatches
from tests.zeb_folder import write_zeb

pytestmark = pytest.mark.shared
RUN_ID, STEPS = "circle", 4
RUN = f"run:{RUN_ID}@{STEPS}"
SMALL = {  # of the recipe `tiny`; its first weights match well, so that what comes out can be judged
    "model.width": 96,
    "mix.homography": 0,
    "features.variants": 1,
    "features.max_keypoints": 128,
    "sample.width": 160,
    "sample.height": 120,
    "sample.min_labels": 4,
    "optimiser.lr": 1e-6,
    "loop.batch_size": 2,
    "loop.canonical_batch": 2,
    "schedule.pairs": 2 * STEPS,
    "keep.every_pairs": STEPS,
    "keep.keep_last": 2,
    "keep.pictures_every_pairs": 0,
}


@dataclass(frozen=True)
class Circle:
    """A store with a labelled film and a matcher that was trained on it."""

    clip: LabelledClip
    arguments: list[str]  # of commands that work with it

    def manifests(self) -> dict[tuple[str, ...], PairsManifest]:
        """The film's results by the names of their matchers."""
        with closing(FileStore(self.clip.root, create=False)) as store:
            found = [key for key in store.list("pairs/") if key.endswith("/manifest.json")]
            manifests = [codecs.from_json(PairsManifest, store.get(key)) for key in found]
        return {tuple(teacher.matcher for teacher in each.teachers): each for each in manifests}

    def pairs(self, manifest: PairsManifest) -> list[TrainingPair]:
        return [pair for shard in manifest.shards for pair, _, _ in read_shard(self.clip.root / shard.key)]

    def checkpoint(self) -> CheckpointManifest:
        key = keys.checkpoint_manifest(RUN_ID, STEPS)
        return codecs.from_json(CheckpointManifest, (self.clip.root / key).read_bytes())


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Circle:
    folder, weights = tmp_path_factory.mktemp("circle"), shared_data / "weights/permissive"
    clip = label_clip(folder)
    places = ["--store", str(clip.root)]
    build = ["dataset", "build", "--name", "films", "--held-out-share", "0", *places]
    assert run_command(build) == 0
    (dataset,) = (path.name for path in (clip.root / "datasets").iterdir())
    numbers = SMALL | {"model.extractor_weights": weights / "xfeat_folded.pt", "features.cache": folder / "features"}
    sets = [word for name, value in numbers.items() for word in ("--set", f"train.{name}={value}")]
    start = ["--start", str(weights / "xfeat_lighterglue_L3.pt")]
    assert run_command(["train", "tiny", "--dataset", dataset, "--run", RUN_ID, *start, *places, *sets]) == 0
    quick = [f"weights.cache={folder / 'cache'}", f"matcher.run:{RUN_ID}.max_keypoints=512"]
    return Circle(clip, [*clip.arguments, *(word for text in quick for word in ("--set", text))])


def said(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run_command([*map(str, words), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_run_labels_the_film_and_its_pairs_say_whose_they_are(
    capsys: pytest.CaptureFixture[str], circle: Circle
) -> None:
    film = circle.clip.root.with_name("clip.mp4")
    labelled = ["run", film, *circle.arguments, "--matchers"]
    for matchers in (f"run:{RUN_ID}", f"rootsift,run:{RUN_ID}"):
        (video,) = said(capsys, *labelled, matchers)["videos"]
        assert video["status"] == "kept"
        assert video["pairs_kept"] > 0
        assert video["pairs_labelled"][RUN] > 0
    manifests, own, checkpoint = circle.manifests(), f"run-{RUN_ID}={STEPS}", circle.checkpoint()
    assert set(manifests) == {("rootsift",), (own,), ("rootsift", own)}  # the first is what it was trained on
    for matchers in ((own,), ("rootsift", own)):
        pairs = circle.pairs(manifests[matchers])
        assert len(pairs) == manifests[matchers].num_pairs > 0
        assert {pair.teachers for pair in pairs} == {tuple(manifests[matchers].teachers)}
        (weights,) = (item for item in pairs[0].teachers[-1].weights if item.name.startswith(RUN_ID))
        assert (weights.sha256, weights.licence) == (checkpoint.files[0].sha256, checkpoint.licence)
        assert "xfeat_folded.pt" in weights.licence
    truth = ["check", "--truth", circle.clip.truth, "--recipe-id", manifests[own,].recipe_id, *circle.arguments]
    (scores,) = said(capsys, *truth, "--base")["results"]
    (base,) = scores["base"].values()
    assert max(rows[-1]["epipolar"]["median_px"] for rows in (scores["pairs"], base)) < 1  # over all intervals


def test_a_run_is_scored_beside_others(capsys: pytest.CaptureFixture[str], circle: Circle, tmp_path: Path) -> None:
    folder, out = write_zeb(tmp_path / "zeb", ["gl3d"], num_pairs=2), tmp_path / "out"
    zeb = ["evaluate", "zeb", folder, "--out", out, *circle.arguments]
    earlier = f"run:{RUN_ID}@{STEPS // 2}"
    for matcher, name in ((earlier, earlier), (f"run:{RUN_ID}", RUN), ("rootsift", "rootsift")):
        scored = said(capsys, *zeb, "--matcher", matcher)
        assert (scored["matcher"], scored["pairs"], scored["failures"]) == (name, 2, 0)
        assert scored["datasets"]["GL3D"]["precision_before"] > 60
    report = said(capsys, "evaluate", "report", out)
    assert {keys.matcher_name(name) for name in (earlier, RUN, "rootsift")} == set(report["methods"])


def test_a_run_is_scored_on_planes(capsys: pytest.CaptureFixture[str], circle: Circle, tmp_path: Path) -> None:
    sequences = write_hpatches(tmp_path / "planes", ["v_wall"])
    H01 = " ".join((sequences / "v_wall/H_1_2").read_text().split())
    (sequences / "pairs_h.txt").write_text(f"v_wall/1.ppm v_wall/2.ppm {H01}\n")
    planes = ["evaluate", "homography", sequences / "pairs_h.txt", "--matcher", f"run:{RUN_ID}", *circle.arguments]
    scored = said(capsys, *planes)
    assert (scored["matcher"], scored["pairs"], scored["failures"]) == (RUN, 1, 0)
    assert scored["precision_before"] > 60
