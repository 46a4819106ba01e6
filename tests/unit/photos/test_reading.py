import contextlib
import struct

import cv2
import numpy as np
import pytest

from gim import codecs
from gim.errors import InvalidInput
from gim.photos.exif import read_exif
from gim.photos.reading import read_photo
from gim.photos.sizes import declared_size
from tests.unit.video.media import png_bytes

LIMIT = 10**6
RNG = np.random.default_rng(0)
IMAGE = np.asarray(cv2.resize(RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8), (48, 30)), np.uint8)  # RGB
SHORT, LONG, RATIONAL = 3, 4, 5


def tiff_block(entries, order="<", exif=(), more=b""):
    """A TIFF of folders alone: entries of (tag, type, value), rationals as (numerator, denominator)."""
    main = [*entries, *([(0x8769, LONG, 0)] if exif else [])]
    start_exif = 8 + 2 + 12 * len(main) + 4
    start_rational = start_exif + (2 + 12 * len(exif) + 4 if exif else 0)
    rationals = b""

    def folder(items):
        nonlocal rationals
        data = struct.pack(order + "H", len(items))
        for tag, kind, value in items:
            if kind == RATIONAL:
                data += struct.pack(order + "HHII", tag, kind, 1, start_rational + len(rationals))
                rationals += struct.pack(order + "II", *value)
            else:
                number = start_exif if tag == 0x8769 else value
                packed = struct.pack(order + ("H" if kind == SHORT else "I"), number).ljust(4, b"\0")
                data += struct.pack(order + "HHI", tag, kind, 1) + packed
        return data + b"\0\0\0\0"

    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    body = folder(main) + (folder(list(exif)) if exif else b"")
    return head + body + rationals + more


def jpeg_with(block):
    data = codecs.encode_jpeg(IMAGE)
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def png_with(block):
    data = codecs.encode_png(IMAGE)
    return data[:33] + struct.pack(">I", len(block)) + b"eXIf" + block + b"\0\0\0\0" + data[33:]


def webp_with(block):
    done, data = cv2.imencode(".webp", IMAGE[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert done
    chunks = data.tobytes()[12:]
    size = struct.pack("<I", 47)[:3] + struct.pack("<I", 29)[:3]
    chunks = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + size + chunks
    chunks += b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def tiff_with(orientation):
    tags = [(256, SHORT, 48), (257, SHORT, 30), (258, SHORT, 8), (259, SHORT, 1), (262, SHORT, 2)]
    tags += [(273, LONG, 8 + 2 + 12 * 10 + 4), (274, SHORT, orientation), (277, SHORT, 3), (278, SHORT, 30)]
    return tiff_block([*tags, (279, LONG, IMAGE.size)], more=IMAGE.tobytes())


# As the standard words it: where the stored first row and first column are to be seen.
UPRIGHT = {
    1: IMAGE,
    2: IMAGE[:, ::-1],
    3: IMAGE[::-1, ::-1],
    4: IMAGE[::-1],
    5: IMAGE.transpose(1, 0, 2),
    6: np.rot90(IMAGE, -1),
    7: np.rot90(IMAGE, -1)[::-1],
    8: np.rot90(IMAGE),
}


def read(tmp_path, data, name="photo"):
    path = tmp_path / name
    path.write_bytes(data)
    return read_photo(path, LIMIT)


def written(suffix, pixels):
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_a_photo_is_seen_as_its_exif_says(tmp_path, kind, orientation):
    block = tiff_block([(0x0112, SHORT, orientation)], order="<>"[orientation % 2])
    makers = {"jpeg": jpeg_with, "png": png_with, "webp": webp_with}
    data = makers[kind](block) if kind in makers else tiff_with(orientation)
    photo = read(tmp_path, data)
    expected = UPRIGHT[orientation].astype(int)
    assert photo.image.shape == expected.shape
    assert np.abs(photo.image - expected).mean() < (3 if kind == "jpeg" else 0.01)
    assert photo.notes == (() if orientation == 1 else ("turned as its EXIF data say",))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_there_is_not_is_none(orientation):
    assert read_exif(jpeg_with(tiff_block([(0x0112, SHORT, orientation)]))).orientation == 1


def test_the_focal_length_is_that_of_equal_diagonals(tmp_path):
    photo = read(tmp_path, jpeg_with(tiff_block([], exif=[(0xA405, SHORT, 35)])))
    assert photo.focal_px == pytest.approx(35 * np.hypot(48, 30) / np.hypot(36, 24))
    K, source = photo.guess_intrinsics()
    assert (K[0, 0], K[0, 2], K[1, 2]) == (photo.focal_px, 23.5, 14.5)
    assert "EXIF" in source


@pytest.mark.parametrize(("unit", "per_mm"), [(2, 1 / 25.4), (3, 0.1)])
def test_the_focal_length_is_had_from_the_sensor_too(tmp_path, unit, per_mm):
    exif = [(0x920A, RATIONAL, (50, 1)), (0xA002, LONG, 4800), (0xA003, LONG, 3000)]
    exif += [(0xA20E, RATIONAL, (20000, 10)), (0xA210, SHORT, unit)]
    photo = read(tmp_path, jpeg_with(tiff_block([], order=">", exif=exif)))
    # The picture was shrunk a hundredfold since it was taken.
    assert photo.focal_px == pytest.approx(50 * 2000 * per_mm / 100)


def test_without_a_focal_length_it_is_guessed(tmp_path):
    photo = read(tmp_path, codecs.encode_jpeg(IMAGE))
    K, source = photo.guess_intrinsics()
    assert (photo.focal_px, K[0, 0]) == (None, 1.2 * 48)
    assert "guessed" in source


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\x87\x69" * 40]
)
@pytest.mark.parametrize("maker", [jpeg_with, png_with, webp_with])
def test_damaged_exif_says_nothing(maker, block):
    assert read_exif(maker(block)).focal_share is None


def test_every_cut_of_exif_is_survived():
    block = tiff_block([(0x0112, SHORT, 6)], exif=[(0xA405, SHORT, 35), (0x920A, RATIONAL, (4, 0))])
    for data in (jpeg_with(block), png_with(block), webp_with(block), tiff_with(3)):
        for end in range(min(len(data), 300)):
            read_exif(data[:end])
            declared_size(data[:end])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        pytest.param(IMAGE[..., 0], IMAGE[..., :1].repeat(3, 2), id="grey"),
        pytest.param(IMAGE[..., ::-1].astype(np.uint16) * 257, IMAGE, id="16 bit"),
        pytest.param(IMAGE[..., 0].astype(np.uint16) * 257, IMAGE[..., :1].repeat(3, 2), id="grey 16 bit"),
        pytest.param(IMAGE[..., ::-1].astype(np.uint16), IMAGE, id="8 of 16 bit"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_grey_and_16_bit_images_become_colours_of_8_bits(tmp_path, suffix, pixels, expected):
    photo = read(tmp_path, written(suffix, pixels))
    np.testing.assert_array_equal(photo.image, expected)
    assert ("uint16" in "".join(photo.notes)) == (pixels.dtype == np.uint16)


def test_12_of_16_bits_are_not_left_dark(tmp_path):
    pixels = (IMAGE[..., 0].astype(np.uint16) << 4) + 15
    photo = read(tmp_path, written(".png", pixels))
    assert np.abs(photo.image[..., 0].astype(int) - IMAGE[..., 0]).max() <= 1
    assert photo.notes == ("uint16 pixels, 0 to 4095 scaled to 8 bits",)


def test_floating_point_is_scaled_by_its_range(tmp_path):
    pixels = IMAGE[..., 0].astype(np.float32) / 100 - 1
    photo = read(tmp_path, written(".tiff", pixels))
    low, high = int(IMAGE[..., 0].min()), int(IMAGE[..., 0].max())
    np.testing.assert_allclose(photo.image[..., 0], (IMAGE[..., 0].astype(float) - low) * 255 / (high - low), atol=0.51)
    assert "float32" in photo.notes[0]


def test_one_number_everywhere_is_black(tmp_path):
    assert read(tmp_path, written(".tiff", np.full((9, 9), 7.5, np.float32))).image.max() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(tmp_path, value):
    pixels = np.ones((9, 9), np.float32)
    pixels[4, 4] = value
    with pytest.raises(InvalidInput, match=r"photo: has pixels that are no number"):
        read(tmp_path, written(".tiff", pixels))


def test_what_is_transparent_is_masked(tmp_path):
    alpha = np.full((30, 48), 255, np.uint8)
    opaque = read(tmp_path, written(".png", np.dstack([IMAGE[..., ::-1], alpha])))
    assert opaque.mask is None
    np.testing.assert_array_equal(opaque.image, IMAGE)
    alpha[:10] = 0
    alpha[10:20] = 1
    photo = read(tmp_path, written(".png", np.dstack([IMAGE[..., ::-1], alpha])))
    np.testing.assert_array_equal(photo.mask, (np.arange(30) >= 10)[:, None].repeat(48, 1))
    np.testing.assert_array_equal(photo.image, IMAGE)
    assert photo.notes == ("transparent pixels are ignored",)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm"])
def test_the_size_that_an_image_states_is_read_before_it_is_decoded(suffix, tmp_path):
    data = written(suffix, np.zeros((31, 57) if suffix == ".pgm" else (31, 57, 3), np.uint8))
    assert declared_size(data) == (57, 31)
    assert read(tmp_path, data).size == (57, 31)


def test_lossless_webp_states_its_size_too():
    assert declared_size(written(".webp", np.zeros((31, 57, 3), np.uint8))) == (57, 31)
    done, data = cv2.imencode(".webp", np.zeros((31, 57, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert done
    assert b"VP8L" in data.tobytes()[:32]
    assert declared_size(data.tobytes()) == (57, 31)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0\x00\x00\xff",
        b"II*\0",
        b"GIF89a",
        b"P6 1",
        b"RIFF0000WEBP",
    ],
)
def test_an_image_that_states_no_size_is_refused(tmp_path, data):
    assert declared_size(data) == (0, 0)
    with pytest.raises(InvalidInput, match="photo: not a readable image"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        png_bytes(30_000, 30_000),
        tiff_block([(256, LONG, 30_000), (257, LONG, 30_000)]),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 30_000, -30_000),
        b"GIF89a" + struct.pack("<HH", 30_000, 30_000),
        b"P6\n# a comment\n30000 30000\n255\n",
        b"RIFF0000WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + struct.pack("<I", 29_999)[:3] * 2,
    ],
)
def test_an_image_too_large_is_refused_undecoded(tmp_path, data):
    with pytest.raises(InvalidInput, match=r"30000x30000 pixels exceed limits\.max_pixels"):
        read(tmp_path, data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
def test_a_file_that_is_cut_off_is_refused_or_read_but_never_a_bug(tmp_path, suffix, share):
    data = written(suffix, IMAGE)
    with contextlib.suppress(InvalidInput):
        assert read(tmp_path, data[: int(share * len(data))]).size == (48, 30)


def test_photos_of_phones_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InvalidInput, match="HEIC"):
        read(tmp_path, struct.pack(">I", 24) + b"ftypheic" + bytes(100))


def test_a_folder_and_an_absent_file_are_named(tmp_path):
    with pytest.raises(InvalidInput, match="Is a directory"):
        read_photo(tmp_path, LIMIT)
    with pytest.raises(InvalidInput, match="No such file"):
        read_photo(tmp_path / "absent.png", LIMIT)
