"""What a segmenter masks is not labelled, and each frame is looked at once, however many matchers there are.

The film is real: a table with a magazine, whose cover is a portrait. The segmenter is the one for people close by.
"""

from collections import Counter

import cv2
import numpy as np
import pytest

from gim import codecs, keys
from gim.records import FrameManifest, SegmentFeatures, SegmentLabels
from gim.runtime.inventory import find_orphans
from gim.video.config import SegmenterConfig
from gim.video.segmenters.registry import load_segmenter
from gim.wire.v1 import events_pb2
from tests.segmenter_files import files_of
from tests.unit.stages.pipeline import Pipeline, Strided, of_kind, quick_rootsift
from tests.unit.video.media import write_video

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def film(shared_data, tmp_path_factory):
    """A second and a half of it, at half the size."""
    whole = cv2.VideoCapture(str(shared_data / "data/train_videos/table_14s.mp4"))
    whole.set(cv2.CAP_PROP_POS_FRAMES, 90)
    frames = [cv2.resize(whole.read()[1], (424, 240), interpolation=cv2.INTER_AREA)[..., ::-1] for _ in range(45)]
    path = tmp_path_factory.mktemp("film") / "table.mp4"
    write_video(path, len(frames), size=(424, 240), make_frame=lambda number: np.ascontiguousarray(frames[number]))
    return path


@pytest.fixture
def segmenter(shared_data, tmp_path):
    return load_segmenter(SegmenterConfig("selfie", **files_of("selfie", tmp_path, shared_data).settings))


def masks_of(pipeline):
    """Masks by frame index."""
    found = pipeline.objects("masks/")
    return {int(key.rpartition("/")[2][:8]): codecs.decode_grey(data) for key, data in found.items()}


def labels_of(pipeline, matcher_id):
    found = pipeline.objects("labels/")
    return [codecs.from_npz(SegmentLabels, data) for key, data in found.items() if f"/{matcher_id}/" in key]


def num_masked(labels, masks):
    """Correspondences of which either end lies on a masked pixel."""
    count = 0
    for item in labels:
        for row, frames in enumerate(item.frames):
            points = item.correspondences[item.offsets[row] : item.offsets[row + 1]]
            ends = zip(frames, np.split(np.rint(points).astype(int), 2, axis=1), strict=True)
            count += sum(int((masks[int(frame)][end[:, 1], end[:, 0]] == 0).sum()) for frame, end in ends)
    return count


def test_no_matcher_labels_what_is_masked_and_each_frame_is_looked_at_once(film, segmenter, tmp_path):
    matchers = [quick_rootsift(), Strided()]
    with Pipeline(tmp_path / "s", matchers=matchers, segmenter=segmenter, keep_features=True) as pipeline:
        events = pipeline.run(film)
        masks = masks_of(pipeline)
        (manifest,) = [
            codecs.from_json(FrameManifest, data)
            for key, data in pipeline.objects("frames/").items()
            if key.endswith("/manifest.json")
        ]
        assert sorted(masks) == manifest.frame_indices
        written = Counter(key for key in pipeline.store.written if key.startswith("masks/"))
        assert set(written.values()) == {1}
        assert all(0.02 < (mask == 0).mean() < 0.2 for mask in masks.values())
        for data in pipeline.objects("features/").values():
            features = codecs.from_npz(SegmentFeatures, data)
            for row, frame in enumerate(features.frames):
                columns, rows = (
                    np.rint(features.keypoints[features.offsets[row] : features.offsets[row + 1]]).astype(int).T
                )
                assert len(columns) > 50
                assert (masks[int(frame)][rows, columns] > 0).all()
        for matcher_id in pipeline.matcher_ids.values():
            labels = labels_of(pipeline, matcher_id)
            assert sum(len(item.correspondences) for item in labels) > 100
            assert num_masked(labels, masks) == 0
        assert of_kind(events, events_pb2.PairsReady)[-1].num_pairs > 0
    with Pipeline(tmp_path / "without") as plain:
        plain.run(film)
        assert plain.objects("masks/") == {}
        assert num_masked(labels_of(plain, plain.matcher_ids["rootsift"]), masks) > 100


def test_masks_outlive_a_run_for_the_next_matcher_and_are_remade_when_lost_or_damaged(film, segmenter, tmp_path):
    with Pipeline(tmp_path / "s", segmenter=segmenter) as pipeline:
        pipeline.run(film)
        before = pipeline.objects("masks/")
        first, second = list(before)[:2]
        pipeline.store.delete(first)
        pipeline.store.put(second, b"no picture")
    with Pipeline(tmp_path / "s", matchers=[Strided()], segmenter=segmenter) as pipeline:
        pipeline.run(film)
        assert sorted(key for key in pipeline.store.written if key.startswith("masks/")) == [first, second]
        assert pipeline.objects("masks/") == before


def test_another_segmenter_is_another_place_for_masks_features_and_labels(film, segmenter, shared_data, tmp_path):
    settings = files_of("selfie", tmp_path, shared_data).settings
    wider = load_segmenter(SegmenterConfig("selfie", **settings, grow_px=9))
    places = []
    for chosen in (None, segmenter, wider):
        with Pipeline(tmp_path / "s", segmenter=chosen, keep_features=True) as pipeline:
            pipeline.run(film)
            places.append(
                {key.rpartition("/")[0] for key in pipeline.objects() if not key.startswith(("videos", "frames"))}
            )
            assert pipeline.store.exists(keys.frame_manifest(*_first_frames(pipeline)))
    assert len(places[1] - places[0]) == 4  # masks, features, labels, pairs
    assert len(places[2] - places[1]) == 4


def test_masks_of_frames_that_are_gone_are_leftovers(film, segmenter, tmp_path):
    with Pipeline(tmp_path / "s", segmenter=segmenter) as pipeline:
        pipeline.run(film)
        assert find_orphans(pipeline.store) == []
        video_id, sampling_id = _first_frames(pipeline)
        pipeline.store.delete(keys.frame_manifest(video_id, sampling_id))
        found = {item.prefix: item.why for item in find_orphans(pipeline.store)}
        assert found[keys.masks_prefix(video_id, sampling_id)] == "of frames that are not there"


def _first_frames(pipeline):
    """Video id and sampling id of what is stored."""
    _, video_id, sampling_id, _ = next(iter(pipeline.store.list("frames/"))).split("/")
    return video_id, sampling_id
