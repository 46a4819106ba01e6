"""`gim run` with a segmenter, from the command line: real film, real weights from a folder."""

import json

import pytest

from gim import codecs
from gim.labels.shards import read_shard
from gim.records import SegmentLabels, Teacher
from tests.e2e.commands import objects_of, run_gim


@pytest.fixture(scope="module")
def film(shared_data):
    return shared_data / "data/videos/gopro_walk_10s.mp4"


@pytest.mark.shared
def test_masks_are_made_once_for_all_runs_with_weights_from_a_folder(film, shared_data, tmp_path):
    store, folder = tmp_path / "store", str(shared_data / "weights/permissive")
    words = ["run", film, "--store", store, "--set", "segmenter.name=selfie", "--set", "sampling.trim_end_seconds=8.5"]
    first = run_gim(*words, "--json", GIM_WEIGHTS__DIR=folder, GIM_WEIGHTS__OFFLINE="true")
    assert first.returncode == 0, first.stderr
    (video,) = json.loads(first.stdout)["videos"]
    frames = [key for key in objects_of(store, "frames/") if key.endswith(".jpg")]
    masks = objects_of(store, "masks/")
    assert len(masks) == len(frames) > 3
    assert video["pairs_labelled"]["rootsift"] > 0
    labels = objects_of(store, "labels/")
    made = [codecs.from_npz(SegmentLabels, data) for data in labels.values()]
    (teacher,) = {codecs.from_json(Teacher, str(item.teacher[0]).encode()) for item in made}
    shards = [path for path in store.rglob("*.tar") if path.is_file()]
    assert all(pair.teachers == (teacher,) for path in shards for pair, _, _ in read_shard(path))
    assert shards
    assert (teacher.matcher, teacher.segmenter) == ("rootsift", "selfie")
    (weights,) = teacher.segmenter_weights
    assert (weights.name, weights.licence, len(weights.sha256)) == ("selfie_segmentation", "Apache-2.0", 64)
    again = run_gim(*words, "--set", "matcher.rootsift.ratio=0.7", "--json", GIM_WEIGHTS__DIR=folder)
    assert again.returncode == 0, again.stderr
    assert objects_of(store, "masks/") == masks
    assert len(objects_of(store, "labels/")) == 2 * len(labels)


@pytest.mark.parametrize(
    ("sets", "message", "code"),
    [
        (["segmenter.name=selfy"], "no such segmenter (did you mean selfie?)", 2),
        (["segmenter.name=selfie", "segmenter.classes=sky"], "knows no class 'sky'", 2),
        (["segmenter.name=selfie", "weights.offline=true"], "selfie_segmentation.tflite", 3),
        (["segmenter.name=selfie", "segmenter.weights=a.pth,b.pth"], "selfie takes 1", 2),
        (["segmenter.confidence=2"], "expected a number from 0 to 1", 2),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_work(tmp_path, sets, message, code):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"never read")
    words = [word for text in [*sets, f"weights.cache={tmp_path / 'cache'}"] for word in ("--set", text)]
    done = run_gim("run", film, "--store", tmp_path / "store", *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.shared
def test_a_permissive_site_refuses_weights_for_research_only(tmp_path):
    words = ["--set", "segmenter.name=ade20k", "--set", "weights.licences=permissive"]
    done = run_gim("run", tmp_path, "--store", tmp_path / "store", *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "ade20k_encoder" in done.stderr
