"""What of a request is looked at before a pixel is decoded."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, InvalidInput, KeyMissing
from gim.rpc.images import check_request, decode_pair, read_images
from gim.wire.v1.matcher_pb2 import Image, MatchRequest, RobustFit

RNG = np.random.default_rng(2)
PIXELS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
PNG, JPEG = codecs.encode_png(PIXELS), codecs.encode_jpeg(PIXELS)
KEY = "frames/file-0123456789abcdef/seconds-1a2b3c4d/00000000.jpg"
LIMITS = {"max_bytes": 2**20, "max_pixels": 10**6}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    """A PNG of a few kilobytes that is that large when it is decoded."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(100_000), 9)  # the first of them
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def request(data0, data1=PNG, **masks):
    return MatchRequest(
        image0=Image(encoded=data0, mask=masks.get("mask0", b"")),
        image1=Image(encoded=data1, mask=masks.get("mask1", b"")),
    )


def pixels_of(asked, store=None):
    check_request(asked, store)
    return decode_pair(read_images(asked, store, **LIMITS))


def test_png_and_jpeg_become_pixels():
    pair = pixels_of(request(PNG, JPEG))
    np.testing.assert_array_equal(pair.image0, PIXELS)
    np.testing.assert_array_equal(pair.image1, codecs.decode_image(JPEG))
    assert pair.mask0 is None


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a" + bytes(100),
        cv2.imencode(".tiff", PIXELS)[1].tobytes(),
        cv2.imencode(".webp", PIXELS)[1].tobytes(),
        b"hello",
        b"\xff\xd8\xff",
        PNG[:20],
        PNG[: len(PNG) // 2],
        JPEG[:30],
    ],
)
def test_other_formats_and_damaged_files_are_refused(data):
    with pytest.raises(InvalidInput, match="image0"):
        pixels_of(request(data))


@pytest.mark.parametrize("bomb", [png_bomb(30_000, 30_000), png_bomb(2**31 - 1, 1), png_bomb(1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(bomb):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="exceed the server's 1000000"):
            pixels_of(request(bomb))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_jpeg_that_shows_one_size_and_hides_another_is_refused():
    """A marker without a length makes a careless reader of headers jump over the frame that a decoder finds."""
    huge = struct.pack(">HBHHB", 17, 8, 65_000, 65_000, 3) + bytes(9)
    forged = b"\xff\xd8\xff\x01\xff\xc0" + huge + bytes(65_472) + b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 8, 8, 3)
    with pytest.raises(InvalidInput, match="not a readable image"):
        pixels_of(request(forged + bytes(100)))


def test_a_jpeg_of_endless_scans_is_refused():
    with pytest.raises(InvalidInput, match="more than 256 scans"):
        pixels_of(request(JPEG[:-2] + 300 * b"\xff\xda\x00\x02" + b"\xff\xd9"))


def test_an_image_is_missing_or_a_fit_is_absurd():
    with pytest.raises(InvalidInput, match="image1: no image"):
        check_request(MatchRequest(image0=Image(encoded=PNG)), None)
    for threshold in (-1.0, float("nan"), float("inf")):
        asked = request(PNG)
        asked.fit.CopyFrom(RobustFit(threshold_px=threshold))
        with pytest.raises(InvalidInput, match="threshold_px"):
            check_request(asked, None)


def test_masks_are_of_the_size_of_their_image_and_join_what_is_transparent():
    mask = np.full(PIXELS.shape[:2], 255, np.uint8)
    mask[:, :4] = 0
    transparent = np.dstack([PIXELS[..., ::-1], np.full(mask.shape, 255, np.uint8)])
    transparent[:3, :, 3] = 0
    with_alpha = cv2.imencode(".png", transparent)[1].tobytes()
    pair = pixels_of(request(with_alpha, PNG, mask0=codecs.encode_png(mask), mask1=codecs.encode_png(mask)))
    assert not pair.mask0[:, :4].any()
    assert not pair.mask0[:3].any()
    assert pair.mask0[3:, 4:].all()
    np.testing.assert_array_equal(pair.mask1, mask)
    for wrong in (codecs.encode_png(mask[:-1]), codecs.encode_jpeg(mask), b"x", png_bomb(30_000, 30_000)):
        with pytest.raises(InvalidInput, match="mask is not a PNG of 32x24"):
            pixels_of(request(PNG, mask0=wrong))


def test_frames_of_the_store_are_read_and_nothing_else(tmp_path):
    store = FileStore(tmp_path / "store")
    store.put(KEY, JPEG)
    store.put("videos/file-0123456789abcdef/source.jpg", JPEG)

    def asked(key):
        return MatchRequest(image0=Image(store_key=key), image1=Image(encoded=PNG))

    np.testing.assert_array_equal(pixels_of(asked(KEY), store).image0, codecs.decode_image(JPEG))
    with pytest.raises(KeyMissing):
        pixels_of(asked(KEY.replace("0.jpg", "1.jpg")), store)
    with pytest.raises(InvalidInput, match="not below frames/"):
        check_request(asked("videos/file-0123456789abcdef/source.jpg"), store)
    for key in ("frames/../videos/x", "/etc/passwd", "frames//x", ""):
        with pytest.raises(InvalidInput, match="invalid store key"):
            check_request(asked(key), store)
    with pytest.raises(ConfigError, match="no store"):
        check_request(asked(KEY), None)
    with pytest.raises(InvalidInput, match="bytes exceed the server's 10"):
        read_images(asked(KEY), store, max_bytes=10, max_pixels=10**6)
    store.close()
