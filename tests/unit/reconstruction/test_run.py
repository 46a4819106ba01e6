import json
import struct
from dataclasses import replace

import cv2
import numpy as np
import pycolmap
import pytest

from gim import codecs
from gim.errors import InvalidInput, Unavailable
from gim.reconstruction.colmap_labels import FailureRate, failure_rate, label_with_colmap
from gim.reconstruction.config import ReconstructionConfig
from gim.reconstruction.folder import RESULTS, RunFolder
from gim.reconstruction.mapping import NoModel
from gim.reconstruction.run import reconstruct
from tests.unit.reconstruction.known_scene import SIZE, KnowingMatcher, KnownScene, aligned_error, grey_of

CONFIG = ReconstructionConfig(camera="shared", camera_model="SIMPLE_PINHOLE")


@pytest.fixture(scope="module")
def scene():
    return KnownScene(num_points=120)


@pytest.fixture
def images(scene, tmp_path):
    return scene.write(tmp_path / "images")


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory):
    """A reconstruction's folder and summary; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    images = scene.write(folder / "images")
    return folder / "out", reconstruct(images, folder / "out", KnowingMatcher(scene), CONFIG)


def model_of(out):
    return pycolmap.Reconstruction(str(out / "sparse" / "0"))


def found_centres(model):
    by_name = {image.name: image.projection_center() for image in model.images.values() if image.has_pose}
    return np.stack([by_name[name] for name in sorted(by_name)])


def test_cameras_of_a_known_scene_are_found(scene, finished):
    out, summary = finished
    assert (summary.registered, summary.images, summary.not_registered) == (6, 6, [])
    assert summary.mean_reprojection_error_px < 0.02
    assert summary.mean_track_length > 4
    assert summary.pairs == summary.pairs_verified == 15
    assert all((out / name).exists() for name in RESULTS)
    model = model_of(out)
    assert aligned_error(found_centres(model), scene.centres) < 0.01
    assert summary.cameras[0].startswith("SIMPLE_PINHOLE 300")
    assert json.loads((out / "summary.json").read_text())["points"] == model.num_points3D() == summary.points


def test_keypoints_have_colmaps_origin_and_one_id_in_all_pairs(scene, finished):
    with pycolmap.Database.open(str(finished[0] / "database.db")) as database:
        image = database.read_image_with_name("2.png")
        keypoints = database.read_keypoints(image.image_id)[:, :2]
    places, inside = scene.keypoints(2)
    truth = places[inside].astype(np.float32) + np.float32(0.5)
    assert len(keypoints) <= len(truth)  # one for each point, not one for each pair
    distance = np.linalg.norm(keypoints[:, None] - truth[None], axis=2).min(axis=1)
    assert distance.max() < 1e-3


def test_points_have_the_colours_of_the_images(finished):
    model = model_of(finished[0])
    for point in list(model.points3D.values())[:20]:
        greys = [grey_of(int(model.images[element.image_id].name[0]))[0, 0, 0] for element in point.track.elements]
        assert abs(float(point.color[0]) - np.mean(greys)) <= 0.5


def test_positions_that_differ_from_pair_to_pair_are_merged_into_tracks(scene, images, tmp_path):
    matcher = KnowingMatcher(scene, jitter_px=0.4)
    merged = reconstruct(images, tmp_path / "merged", matcher, CONFIG)
    assert merged.registered == 6
    assert merged.mean_track_length > 5
    with pytest.raises(NoModel):  # each position is its own keypoint: no track reaches a third image
        reconstruct(images, tmp_path / "apart", matcher, replace(CONFIG, merge_px=0.0))


def test_a_photograph_turned_by_exif_is_reconstructed_as_it_is_stored(scene, images, tmp_path):
    stored = np.ascontiguousarray(np.rot90(grey_of(3)))  # upright after a quarter turn to the right: orientation 6
    (images / "3.png").unlink()
    (images / "3.jpg").write_bytes(_with_orientation(codecs.encode_jpeg(stored), 6))
    config = replace(CONFIG, camera="per-image")
    summary = reconstruct(images, tmp_path / "out", KnowingMatcher(scene), config)
    assert summary.registered == 6
    assert summary.mean_reprojection_error_px < 0.05
    model = model_of(tmp_path / "out")
    turned = next(image for image in model.images.values() if image.name == "3.jpg")
    assert (turned.camera.width, turned.camera.height) == (SIZE[1], SIZE[0])
    assert aligned_error(found_centres(model), scene.centres) < 0.05
    # Its own x axis points to where the others' y axes do, or away from it.
    others = [image.cam_from_world().rotation.matrix()[1] for image in model.images.values() if image is not turned]
    assert abs(turned.cam_from_world().rotation.matrix()[0] @ np.mean(others, axis=0)) > 0.9


def test_nothing_is_matched_twice_and_a_finished_run_is_told_of_again(scene, images, tmp_path):
    class Interrupted(KnowingMatcher):
        def match(self, *views):
            if len(self.asked) == 5:
                raise KeyboardInterrupt
            return super().match(*views)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        reconstruct(images, out, Interrupted(scene), CONFIG)
    assert not any((out / name).exists() for name in RESULTS)

    matcher = KnowingMatcher(scene)
    summary = reconstruct(images, out, matcher, CONFIG)
    assert summary.registered == 6
    before = (out / "summary.json").read_bytes()
    again = KnowingMatcher(scene)
    assert reconstruct(images, out, again, CONFIG) == summary
    assert again.asked == []
    assert (out / "summary.json").read_bytes() == before


def test_results_that_were_lost_are_made_again_from_the_cache(scene, images, tmp_path):
    out = tmp_path / "out"
    first = reconstruct(images, out, KnowingMatcher(scene), CONFIG)
    (out / "summary.json").unlink()  # as after a kill between two of the last moves
    matcher = KnowingMatcher(scene)
    second = reconstruct(images, out, matcher, CONFIG)
    assert matcher.asked == []
    assert (second.points, second.mean_reprojection_error_px) == (first.points, first.mean_reprojection_error_px)


def test_one_thread_gives_the_same_model_each_time(scene, images, tmp_path):
    for name in ("first", "second"):
        reconstruct(images, tmp_path / name, KnowingMatcher(scene, jitter_px=0.4), CONFIG)
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        first, second = ((tmp_path / run / "sparse/0" / name).read_bytes() for run in ("first", "second"))
        assert first == second


def test_other_settings_are_refused_unless_asked_for(scene, images, tmp_path):
    out = tmp_path / "out"
    reconstruct(images, out, KnowingMatcher(scene), CONFIG)
    other = replace(CONFIG, seed=7)
    with pytest.raises(InvalidInput, match="other setting seed; give another folder, or --redo"):
        reconstruct(images, out, KnowingMatcher(scene), other)
    matcher = KnowingMatcher(scene)
    assert reconstruct(images, out, matcher, other, redo=True).seed == 7
    assert matcher.asked == []  # a seed changes no match


def test_a_folder_of_something_else_is_left_alone(scene, images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    with pytest.raises(InvalidInput, match="not empty, and no reconstruction"):
        reconstruct(images, out, KnowingMatcher(scene), CONFIG)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_two_processes_do_not_work_in_one_folder(scene, images, tmp_path):
    out = tmp_path / "out"
    with RunFolder(out).opened({}, redo=False):
        with pytest.raises(Unavailable, match="another process"):
            reconstruct(images, out, KnowingMatcher(scene), CONFIG)


@pytest.mark.parametrize(("max_gap", "min_inliers"), [(0, 25), (5, 121)])
def test_images_without_a_model_leave_the_cache_alone(scene, images, tmp_path, max_gap, min_inliers):
    matcher = KnowingMatcher(scene, max_gap=max_gap)
    with pytest.raises(NoModel, match=f"no model: none of 15 pairs has {min_inliers} matches that agree"):
        reconstruct(images, tmp_path / "out", matcher, replace(CONFIG, min_inliers=min_inliers))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", "cache.db", ".lock"}


def test_masked_places_have_no_keypoints(scene, images, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.full((SIZE[1], SIZE[0]), 255, np.uint8)
    mask[:, :100] = 0
    for view in range(scene.num_views):
        (masks / f"{view}.png.png").write_bytes(codecs.encode_png(mask))
    summary = reconstruct(images, tmp_path / "out", KnowingMatcher(scene), CONFIG, masks=masks)
    assert summary.registered == 6
    with pycolmap.Database.open(str(tmp_path / "out/database.db")) as database:
        x = np.concatenate([database.read_keypoints(image.image_id)[:, 0] for image in database.read_all_images()])
    assert x.min() >= 100.0 - 1e-4
    assert x.min() < 115


def test_the_global_mapper_finds_the_cameras_too(scene, images, tmp_path):
    config = replace(CONFIG, mapper="global")
    summary = reconstruct(images, tmp_path / "out", KnowingMatcher(scene), config)
    assert (summary.registered, summary.mapper) == (6, "global")
    assert aligned_error(found_centres(model_of(tmp_path / "out")), scene.centres) < 0.05


def test_labels_of_a_clip_are_what_both_frames_see(scene, images, tmp_path):
    labels = label_with_colmap(images, tmp_path / "out", KnowingMatcher(scene))
    assert (labels.num_frames, labels.num_registered, labels.failure) == (6, 6, "")
    assert len(labels.pairs) == 15
    for (name0, name1), rows in labels.pairs.items():
        assert rows.dtype == np.float32
        assert name0 < name1
        places0, places1 = (scene.keypoints(int(name[0]))[0] for name in (name0, name1))
        distance = np.linalg.norm(rows[:, None] - np.hstack([places0, places1])[None], axis=2).min(axis=1)
        assert len(rows) >= 15
        assert distance.max() < 1e-3


def test_clips_that_fail_are_counted(scene, images, tmp_path):
    failed = label_with_colmap(images, tmp_path / "none", KnowingMatcher(scene, max_gap=0))
    assert (failed.num_frames, failed.num_registered, dict(failed.pairs)) == (6, 0, {})
    assert failed.failure.startswith("no model")
    good = label_with_colmap(images, tmp_path / "good", KnowingMatcher(scene))
    rate = failure_rate([good, failed])
    assert rate == FailureRate(clips=2, clips_failed=1, frames=12, frames_registered=6)
    assert (rate.clip_share, rate.frame_share) == (0.5, 0.5)


def _with_orientation(jpeg, orientation):
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + jpeg[2:]


def test_the_orientation_of_this_file_is_read():
    image = np.zeros((20, 40, 3), np.uint8)
    data = _with_orientation(codecs.encode_jpeg(image), 6)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (40, 20)
