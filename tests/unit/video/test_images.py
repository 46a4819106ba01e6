"""Pixels of decoded frames: colours to a few grey levels, luma, fields, orientation, size."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gim.records import Uint8Array
from gim.video.images import Orientation, StoredForm, choose_form, deinterlace, full_luma, small_luma, to_rgb
from tests.unit.video.media import numbered_frame, rotate_mp4, write_video

_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
_SPACE = {"bt601": 5, "bt709": 1}
_COLOURS = [(200, 40, 60), (20, 180, 90), (30, 60, 220), (128, 128, 128), (250, 250, 10), (0, 0, 0), (255, 255, 255)]


def yuv_of(colour: tuple[int, int, int], matrix: str, *, is_full: bool, bits: int) -> list[int]:
    """The three samples of a colour by ITU-R BT.601/709, section 3."""
    kr, kb = _KR_KB[matrix]
    r, g, b = (value / 255 for value in colour)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    top, scale = 2**bits - 1, 2 ** (bits - 8)
    if is_full:
        return [round(y * top), round(u * top) + 128 * scale, round(v * top) + 128 * scale]
    return [round((16 + 219 * y) * scale), round((128 + 224 * u) * scale), round((128 + 224 * v) * scale)]


def plain_frame(samples: list[int], form: str, size: tuple[int, int] = (64, 48)) -> av.VideoFrame:
    frame = av.VideoFrame(*size, form)
    for plane, value in zip(frame.planes, samples, strict=True):
        dtype = np.uint16 if "10" in form else np.uint8
        plane.update(np.full(plane.buffer_size // np.dtype(dtype).itemsize, value, dtype).tobytes())
    return frame


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize("size", [(64, 48), (33, 25)])
def test_to_rgb_of_every_matrix_range_and_depth_is_right_to_three_levels(
    matrix: str, is_full: bool, form: str, size: tuple[int, int]
) -> None:
    for colour in _COLOURS:
        frame = plain_frame(yuv_of(colour, matrix, is_full=is_full, bits=10 if "10" in form else 8), form, size)
        frame.colorspace, frame.color_range = _SPACE[matrix], 2 if is_full else 1
        assert np.abs(to_rgb(frame).astype(int) - colour).max() <= 3
        expected = 255 * np.dot([_KR_KB[matrix][0], 1 - sum(_KR_KB[matrix]), _KR_KB[matrix][1]], colour) / 255
        assert np.abs(full_luma(frame).astype(int) - expected).max() <= 1.5
        assert np.abs(small_luma(frame).astype(int) - expected).max() <= 1.5


def test_to_rgb_of_yuvj_is_full_range_whatever_the_mark() -> None:
    frame = plain_frame(yuv_of((20, 180, 90), "bt601", is_full=True, bits=8), "yuvj420p")
    assert np.abs(to_rgb(frame).astype(int) - (20, 180, 90)).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(480, "bt601"), (720, "bt709")])
def test_to_rgb_of_unmarked_colours_goes_by_the_height(height: int, matrix: str) -> None:
    frame = plain_frame(yuv_of((200, 40, 60), matrix, is_full=False, bits=8), "yuv420p", (64, height))
    assert np.abs(to_rgb(frame).astype(int) - (200, 40, 60)).max() <= 3


@pytest.mark.parametrize("form", ["rgb24", "bgr0", "gbrp", "yuyv422", "nv12", "p010le", "gray", "gray16be", "yuva420p"])
def test_luma_of_packed_planar_and_deep_formats_is_that_of_the_picture(form: str) -> None:
    image = numbered_frame(5, 320, 240)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=form)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(full_luma(frame).astype(int) - grey).mean() < 2
    small = small_luma(frame)
    assert small.shape == (120, 160)
    assert np.abs(small.astype(int) - cv2.resize(full_luma(frame), (160, 120), interpolation=cv2.INTER_AREA)).max() <= 2


def test_full_luma_stretches_every_limited_code_to_the_nearest_grey_level() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame = av.VideoFrame.from_ndarray(np.vstack([codes, np.full((8, 16), 128, np.uint8)]), format="yuv420p")
    frame.color_range = 1
    expected = np.clip(np.round((codes.astype(float) - 16) * 255 / 219), 0, 255)
    np.testing.assert_array_equal(full_luma(frame), expected)


def test_small_luma_of_an_odd_size_keeps_the_size_it_is_given() -> None:
    frame = av.VideoFrame.from_ndarray(numbered_frame(1, 333, 251), format="rgb24").reformat(format="yuv444p")
    small = small_luma(frame)
    assert small.shape == (125, 166)
    other = av.VideoFrame.from_ndarray(numbered_frame(1, 100, 60), format="rgb24").reformat(format="yuv444p")
    assert small_luma(other, (166, 125)).shape == (125, 166)


@pytest.mark.parametrize(
    ("matrix", "degrees", "is_mirrored"),
    [
        ((1, 0, 0, 1), 0, False),
        ((0, 1, -1, 0), 90, False),
        ((-1, 0, 0, -1), 180, False),
        ((0, -1, 1, 0), 270, False),
        ((-1, 0, 0, 1), 0, True),
    ],
)
def test_orientation_of_a_display_matrix_is_applied_and_named(
    tmp_path: Path, matrix: tuple[int, int, int, int], degrees: int, is_mirrored: bool
) -> None:
    path = write_video(tmp_path / "film.mp4", 2)
    rotate_mp4(path, matrix)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    form = choose_form(frame, 1920)
    assert (form.orientation.rotation_degrees, form.orientation.is_mirrored) == (degrees, is_mirrored)
    coded = to_rgb(frame)
    a, b, c, d = matrix
    shown = form.fit(coded)
    assert shown.shape[1::-1] == (form.width, form.height)
    for x, y in ((3, 5), (150, 7), (20, 110)):  # the matrix, point by point
        u = a * x + c * y + (159 if a < 0 else 119 if c < 0 else 0)
        v = b * x + d * y + (159 if b < 0 else 119 if d < 0 else 0)
        assert np.array_equal(shown[v, u], coded[y, x])


def test_orientation_that_is_no_right_angle_is_ignored(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 2)
    rotate_mp4(path, (1, 1, -1, 1))
    with av.open(str(path)) as container:
        assert choose_form(next(container.decode(video=0)), 1920).orientation == Orientation()


def test_choose_form_shrinks_the_long_side_of_the_displayed_frame() -> None:
    form = choose_form(av.VideoFrame(3840, 2160, "yuv420p"), 1920)
    assert (form.width, form.height) == (1920, 1080)
    assert form.fit(np.zeros((2160, 3840, 3), np.uint8)).shape == (1080, 1920, 3)
    turned = StoredForm(108, 192, Orientation(transposes=True, flips_columns=True))
    assert turned.fit(np.zeros((216, 384), np.uint8)).shape == (192, 108)


def grey_frame(index: int) -> Uint8Array:
    return np.asarray(cv2.cvtColor(numbered_frame(index, 320, 240), cv2.COLOR_RGB2GRAY), np.uint8)


def combed_film(path: Path, is_bottom_first: bool = False) -> Path:
    """Frames whose second field shows the scene 8 px further on."""

    def make_frame(index: int) -> Uint8Array:
        image = grey_frame(index)
        second = 0 if is_bottom_first else 1
        image[second::2] = np.roll(image, -8, axis=1)[second::2]
        return np.repeat(image[..., None], 3, axis=2)

    order, options = "bff" if is_bottom_first else "tff", {"flags": "+ildct+ilme", "crf": "5"}
    return write_video(path, 4, size=(320, 240), make_frame=make_frame, options=options, field_order=order)


@pytest.mark.parametrize("is_bottom_first", [False, True])
def test_deinterlace_shows_the_first_field_only(tmp_path: Path, is_bottom_first: bool) -> None:
    with av.open(str(combed_film(tmp_path / "film.mkv", is_bottom_first))) as container:
        frames = list(container.decode(video=0))
    for index, frame in enumerate(frames):
        assert frame.interlaced_frame
        truth = grey_frame(index)[70:, :300].astype(int)
        combed = np.abs(full_luma(frame)[70:, :300] - truth)
        shown = np.abs(full_luma(deinterlace(frame))[70:, :300] - truth)
        first = int(is_bottom_first)
        assert shown[first::2].mean() < 2  # its own lines are kept
        assert shown.mean() < 0.35 * combed.mean()


def test_deinterlace_of_a_progressive_frame_is_the_frame() -> None:
    frame = av.VideoFrame(64, 48, "yuv420p")
    assert deinterlace(frame) is frame
