import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gim import codecs
from gim.errors import CorruptObject, InvalidInput
from gim.records import Correspondences, FrameManifest, Provenance, Segment, SegmentLabels, Shot, VideoMeta

META = VideoMeta(
    video_id="yt-dQw4w9WgXcQ",
    source_key="videos/yt-dQw4w9WgXcQ/source.mp4",
    sha256="0" * 64,
    num_bytes=3,
    provenance=Provenance(source="a – b", licence="CC BY", tools={"b": "2", "a": "1"}),
)
FRAMES = FrameManifest(
    video_id="yt-dQw4w9WgXcQ",
    sampling_id="seconds-00000000",
    width=64,
    height=48,
    fps=29.97,
    num_frames=31,
    duration_seconds=1.03,
    step_seconds=0.2,
    frame_indices=[0, 6, 12],
    frame_times=[0.0, 0.2002, 0.4004],
    shots=[Shot(0, 0, 30, 0.0, 1.0, 0, 3)],
    segments=[Segment(0, 0, 0, 3)],
)


@pytest.mark.parametrize("record", [META, FRAMES])
def test_json_returns_the_record_it_was_made_from(record):
    assert codecs.from_json(type(record), codecs.to_json(record)) == record


def test_json_of_equal_records_is_equal_whatever_the_order_of_their_mappings():
    other = replace(META, provenance=replace(META.provenance, tools={"a": "1", "b": "2"}))
    assert codecs.to_json(other) == codecs.to_json(META)


def test_json_of_a_newer_writer_is_read_and_its_new_fields_ignored():
    document = json.loads(codecs.to_json(META)) | {"invented_later": 1}
    assert codecs.from_json(VideoMeta, json.dumps(document).encode()) == META


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "another version"),
        (b"{}", "another version"),
        (codecs.to_json(META).replace(b'"schema":1', b'"schema":2'), "another version"),
        (codecs.to_json(META).replace(b'"num_bytes":3,', b""), "num_bytes"),
        (codecs.to_json(META).replace(b'"num_bytes":3', b'"num_bytes":"many"'), "num_bytes"),
    ],
)
def test_json_that_is_damaged_is_refused_with_the_place(data, word):
    with pytest.raises(CorruptObject, match=word):
        codecs.from_json(VideoMeta, data)


def test_json_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="JSON"):
        codecs.to_json(replace(FRAMES, fps=float("nan")))


def _labels(num_pairs: int, rows) -> SegmentLabels:
    return SegmentLabels(
        frames=np.arange(2 * num_pairs, dtype=np.int64).reshape(num_pairs, 2),
        outcomes=np.array(["labelled"] * num_pairs, dtype=np.str_),
        num_matches=np.full(num_pairs, len(rows), np.int32),
        offsets=np.array([0] * num_pairs + [len(rows)], np.int64),
        correspondences=rows,
        confidence=np.ones(len(rows), np.float32),
        teacher=np.array(['{"matcher":"rootsift"}']),
    )


@given(
    st.integers(0, 4),
    arrays.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(4)), elements=st.floats(-1e4, 1e4, width=32)),
)
def test_npz_returns_every_array_bit_by_bit(num_pairs, rows):
    labels = _labels(num_pairs, rows)
    data = codecs.to_npz(labels)
    assert data == codecs.to_npz(labels)
    back = codecs.from_npz(SegmentLabels, data)
    for name in SegmentLabels.__slots__:
        before, after = getattr(labels, name), getattr(back, name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


def test_labels_of_before_teachers_were_recorded_are_read():
    labels = _labels(1, np.zeros((2, 4), np.float32))
    assert codecs.from_npz(SegmentLabels, codecs.to_npz(replace(labels, teacher=None))).teacher is None


def test_npz_leaves_out_what_is_none():
    record = Correspondences(np.zeros((2, 4), np.float32), np.ones(2, np.float32))
    assert codecs.from_npz(Correspondences, codecs.to_npz(record)).matches is None


def test_npz_that_is_damaged_is_refused():
    whole = codecs.to_npz(_labels(1, np.zeros((3, 4), np.float32)))
    for data in (b"", b"not a zip", whole[: len(whole) // 2]):
        with pytest.raises(CorruptObject, match="SegmentLabels"):
            codecs.from_npz(SegmentLabels, data)


def test_npz_never_unpickles():
    buffer = io.BytesIO()
    np.savez(buffer, points=np.array([object()], dtype=object), confidence=np.ones(1, np.float32))
    with pytest.raises(CorruptObject):
        codecs.from_npz(Correspondences, buffer.getvalue())


def test_npz_has_no_date_that_would_change_its_bytes():
    with zipfile.ZipFile(io.BytesIO(codecs.to_npz(_labels(1, np.zeros((1, 4), np.float32))))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1, 3)])
def test_png_keeps_every_pixel_and_the_order_of_its_channels(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decode = codecs.decode_grey if len(shape) == 2 else codecs.decode_image
    np.testing.assert_array_equal(decode(codecs.encode_png(image)), image)


def test_jpeg_keeps_red_red():
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    back = codecs.decode_image(codecs.encode_jpeg(image))
    assert abs(int(back[8, 8, 0]) - 200) < 6
    assert back[8, 8, 1:].max() < 6


@pytest.mark.parametrize("data", [b"", b"text", codecs.encode_png(np.zeros((40, 40), np.uint8))[:30]])
def test_bytes_that_are_no_image_are_refused(data):
    with pytest.raises(CorruptObject, match="not a readable image"):
        codecs.decode_image(data)


def test_an_image_too_large_for_its_format_is_refused():
    with pytest.raises(InvalidInput, match="cannot encode"):
        codecs.encode_jpeg(np.zeros((1, 70_000), np.uint8))
