"""`gim run` with networks that have real weights: right labels, guidance by their features, fusion, the teacher's name.

The clip is rendered, so that the exact place of every correspondence is known.
"""

import importlib.util
import io
import json
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from gim.evaluation.cameras import RenderedFrames
from gim.inference.config import InferenceConfig
from gim.labels.config import PairingConfig, ZoomConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.ports.telemetry import NullTelemetry
from gim.records import FrameManifest, PairsManifest, Segment, SegmentLabels, Shot, Teacher
from gim.runtime.checking import check_store
from gim.stages.label import LabelStage, labels_id
from gim.synthetic.truth import ClipTruth
from gim.wire.v1.events_pb2 import SegmentReady
from tests.e2e.commands import leftovers, objects_of, run_gim, start_gim, wait_until
from tests.synthetic import small_clip

pytestmark = pytest.mark.shared

# Several segments, so that features are held from one to the next.
SETS = ("sampling.segment_samples=6", "propagation.min_links=60", "propagation.shard_pairs=4", "inference.device=cpu")


@dataclass(frozen=True)
class Clip:
    """A rendered clip, and how to label it with networks of the sample data."""

    path: Path
    truth: ClipTruth
    weights: Path

    def command(self, store: Path, matchers: str, *more: str) -> list[str]:
        files = [
            f"matcher.aliked_mnn.aliked_weights={self.weights}/aliked-n16.pth",
            f"matcher.xfeat.xfeat_weights={self.weights}/xfeat_folded.pt",
            f"matcher.xfeat_lighterglue.xfeat_weights={self.weights}/xfeat_folded.pt",
            f"matcher.xfeat_lighterglue.weights={self.weights}/xfeat_lighterglue_L3.pt",
        ]
        sets = [word for text in (*SETS, *files, *more) for word in ("--set", text)]
        return ["run", str(self.path), "--store", str(store), "--matchers", matchers, *sets]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, shared_data, lacks_models):
    """Two and a half seconds over a terrain."""
    if importlib.util.find_spec("torch") is None:
        lacks_models("needs torch")
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    truth = small_clip(path, kind="terrain", duration_seconds=2.5, size=(320, 180), fps=10)
    return Clip(path, truth, shared_data / "weights/permissive")


def manifest_of(store: Path) -> PairsManifest:
    (data,) = [data for key, data in objects_of(store, "pairs/").items() if key.endswith("/manifest.json")]
    return codecs.from_json(PairsManifest, data)


def score_of(store: Path, clip: Clip):
    """Errors of all kept correspondences against the truth."""
    opened = FileStore(store, create=False)
    (result,) = check_store(opened, RenderedFrames("truth", clip.truth))
    opened.close()
    return result.pairs[-1]


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matchers", ["aliked_mnn", "xfeat", "xfeat_lighterglue", "rootsift,xfeat"])
def test_the_labels_of_networks_become_right_pairs(clip, tmp_path, matchers, capsys):
    assert run_command([*clip.command(tmp_path / "s", matchers), "--json"]) == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert video["status"] == "kept"
    assert all(video["pairs_labelled"][name] > 15 for name in matchers.split(","))
    score = score_of(tmp_path / "s", clip)
    assert score.num_pairs > 5
    assert score.num_correspondences > 100 * score.num_pairs
    assert score.point.within_1px > 0.95
    assert manifest_of(tmp_path / "s").num_pairs == video["pairs_kept"]
    assert objects_of(tmp_path / "s", "features/") == {}


def test_a_second_run_gives_the_same_bytes_and_a_kept_cache_of_features_changes_none(clip, tmp_path):
    stores = [tmp_path / name for name in ("a", "b", "c")]
    for store, more in zip(stores, ([], [], ["run.keep_features=true"]), strict=True):
        assert run_command([*clip.command(store, "xfeat", *more), "--quiet"]) == 0
    first, second, cached = map(objects_of, stores)
    assert first == second
    assert {key: data for key, data in cached.items() if not key.startswith("features/")} == first
    assert any(key.startswith("features/") for key in cached)


def test_batches_change_no_outcome_and_hardly_a_position(clip, tmp_path):
    found = {}
    for size in (1, 3, 8):
        store = tmp_path / str(size)
        assert run_command([*clip.command(store, "xfeat", f"inference.batch_size={size}"), "--quiet"]) == 0
        objects = objects_of(store, "labels/")
        found[size] = {key: codecs.from_npz(SegmentLabels, data) for key, data in objects.items()}
    for size in (3, 8):
        assert found[size].keys() == found[1].keys()  # no part of a label's id
        for key, labels in found[size].items():
            np.testing.assert_array_equal(labels.frames, found[1][key].frames)
            np.testing.assert_array_equal(labels.outcomes, found[1][key].outcomes)
            nums, expected = (np.diff(item.offsets) for item in (labels, found[1][key]))
            assert (np.abs(nums - expected) <= 0.03 * expected + 3).all()


# --- teachers ---------------------------------------------------------------------------------------------------------


def test_everything_that_leaves_the_store_names_its_teachers(clip, tmp_path):
    store = tmp_path / "s"
    assert run_command([*clip.command(store, "rootsift,xfeat"), "--quiet"]) == 0
    file = clip.weights / "xfeat_folded.pt"
    digest = sha256(file.read_bytes()).hexdigest()
    teachers = manifest_of(store).teachers
    assert [teacher.matcher for teacher in teachers] == ["rootsift", "xfeat"]
    rootsift, xfeat = teachers
    assert rootsift.weights == ()
    assert [(item.sha256, item.licence) for item in xfeat.weights] == [(digest, "unknown")]
    assert all(teacher.licence for teacher in teachers)
    for key, data in objects_of(store, "labels/").items():
        labels = codecs.from_npz(SegmentLabels, data)
        name = key.split("/")[3].rpartition("-")[0]
        assert (
            codecs.from_json(Teacher, str(labels.teacher[0]).encode()) == {"rootsift": rootsift, "xfeat": xfeat}[name]
        )
    shards = [data for key, data in objects_of(store, "pairs/").items() if key.endswith(".tar")]
    assert len(shards) > 1
    for data in shards:
        with tarfile.open(fileobj=io.BytesIO(data)) as shard:
            texts = [shard.extractfile(member).read() for member in shard if member.name.endswith(".json")]
        assert len(texts) > 0
        assert all(digest.encode() in text and b"rootsift" in text for text in texts)


@pytest.mark.parametrize("layout", ["npz", "webdataset", "hdf5", "colmap"])
def test_exports_name_their_teachers(clip, tmp_path_factory, tmp_path, layout):
    store = tmp_path_factory.getbasetemp() / "exported-store"
    assert run_command([*clip.command(store, "xfeat"), "--quiet"]) == 0  # the same command again does nothing
    out = tmp_path / "out"
    assert run_command(["export", "--format", layout, str(out), "--store", str(store)]) == 0
    digest = sha256((clip.weights / "xfeat_folded.pt").read_bytes()).hexdigest()
    files = [path for path in out.rglob("*") if path.is_file()]
    said = [path.name for path in files if digest.encode() in path.read_bytes()]
    assert said, [path.name for path in files]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matchers", "more", "code", "words"),
    [
        ("xfeat", ["weights.licences=permissive"], 2, ["xfeat_folded.pt", "weights.licences"]),
        ("rootsift,gim_loftr", ["weights.licences=permissive"], 2, ["gim_loftr_50h", "weights.licences"]),
        ("rootsift,disk_lightglue", ["weights.offline=true"], 3, ["GIM_WEIGHTS__DIR", "weights.offline"]),
    ],
)
def test_weights_that_may_not_or_cannot_be_used_stop_the_run_before_it_begins(
    clip, tmp_path, capsys, matchers, more, code, words
):
    command = clip.command(tmp_path / "s", matchers, f"weights.cache={tmp_path / 'cache'}", *more)
    assert run_command(command) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
    assert not (tmp_path / "s").exists()


# --- the second, zoomed pass ------------------------------------------------------------------------------------------


def photograph(path: Path):
    """RGB, 960 x 720."""
    image = cv2.resize(cv2.imread(str(path)), (960, 720), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def labels_of_photographs(images, root, matcher, config):
    """What the label stage makes of photographs that lie in a store as the samples of one shot."""
    num = len(images)
    shot = Shot(0, 0, num - 1, 0.0, num - 1.0, 0, num)
    manifest = FrameManifest(
        "file-0123456789abcdef", "1s-00000000", 960, 720, 1.0, num, float(num), 1.0,
        list(range(num)), [float(index) for index in range(num)], [shot], [Segment(0, 0, 0, num)],
    )  # fmt: skip
    with closing(FileStore(root)) as store, ThreadPoolExecutor(2) as executor:
        names = (manifest.video_id, manifest.sampling_id)
        for index, image in enumerate(images):
            store.put(keys.frame_image(*names, index), codecs.encode_jpeg(image))
        store.put(keys.frame_manifest(*names), codecs.to_json(manifest))
        stage = LabelStage(store, matcher, config, executor=executor, telemetry=NullTelemetry())
        list(stage.handle(SegmentReady(video_id=names[0], sampling_id=names[1], segment=0)))
        return codecs.from_npz(SegmentLabels, store.get(keys.segment_labels(*names, labels_id(matcher, config), 0)))


def points_of(labels, row):
    return labels.correspondences[labels.offsets[row] : labels.offsets[row + 1]]


def test_zooming_labels_a_pair_that_shares_little_and_touches_no_good_label(clip, shared_data, tmp_path):
    photographs = shared_data / "data/unposed"
    house = photograph(photographs / "lund/01.jpg")
    other = photograph(photographs / "sacre_coeur/02928139_3448003521.jpg")
    shift = np.array([-200, 50])  # to where a part of the house stands in the other photograph
    other[300:570, 100:460] = house[250:520, 300:660]
    moved = np.roll(house, (6, 15), axis=(0, 1))
    settings = {"aliked_weights": str(clip.weights / "aliked-n16.pth"), "max_side_px": 320}
    matcher = load_matcher("aliked_mnn", settings, ModelResources(InferenceConfig(device="cpu")))
    images, plain = [house, other, moved], PairingConfig(base_intervals=(1, 2))
    without = labels_of_photographs(images, tmp_path / "without", matcher, plain)
    zoomed = labels_of_photographs(images, tmp_path / "zoomed", matcher, replace(plain, zoom=ZoomConfig()))
    assert zoomed.frames.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert without.outcomes.tolist() == ["too_few_matches", "labelled", "too_few_matches"]
    assert zoomed.outcomes.tolist() == ["labelled"] * 3
    np.testing.assert_array_equal(points_of(zoomed, 1), points_of(without, 1))
    for row, expected in ((0, shift), (2, [15, 6] - shift)):
        points = points_of(zoomed, row)
        assert len(points) > 100
        error = points[:, 2:] - points[:, :2] - expected
        assert np.median(np.linalg.norm(error, axis=1)) < 0.5
        assert (np.abs(np.median(error, axis=0)) < 0.15).all()


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_and_started_again_a_run_with_a_network_leaves_the_same_bytes(clip, tmp_path):
    assert run_gim(*clip.command(tmp_path / "whole", "xfeat"), "--quiet").returncode == 0
    whole = objects_of(tmp_path / "whole")
    # By how much is stored and not by the clock: importing the networks takes most of such a run's time.
    for num_stored in random.Random(4).sample(range(1, 2 * len(whole) // 3), 5):
        store = tmp_path / f"killed-{num_stored}"
        command = [*clip.command(store, "xfeat"), "--quiet"]
        with start_gim(*command) as process:
            wait_until(lambda store=store, num=num_stored: num_objects(store) >= num)
            process.kill()
        assert num_objects(store) < len(whole)
        assert run_gim(*command).returncode == 0
        assert objects_of(store) == whole
        assert leftovers(store) == []


def num_objects(store):
    return len(objects_of(store)) if (store / "gim-store.json").exists() else 0
