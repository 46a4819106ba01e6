import numpy as np
import pytest

from gim import codecs
from gim.errors import InvalidInput
from gim.reconstruction.images import find_images, load_image
from tests.unit.reconstruction.test_run import _with_orientation

MANY = 10**6


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    (folder / "b").mkdir(parents=True)
    for name in ("a.png", "b/c.PNG"):
        (folder / name).write_bytes(codecs.encode_png(np.full((6, 8, 3), 50, np.uint8)))
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


def test_images_are_found_by_suffix_in_all_folders_in_order(folder):
    images = find_images(folder, None, MANY)
    assert [image.name for image in images] == ["a.png", "b/c.PNG"]
    assert [(image.stored_size, image.orientation, image.focal_px) for image in images] == [((8, 6), 1, None)] * 2
    assert images[0].content_id == images[1].content_id  # of equal bytes


def test_masks_are_named_as_colmap_does_and_turned_with_their_image(folder, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.full((6, 8), 255, np.uint8)
    mask[0, 0] = 0
    (masks / "a.png.png").write_bytes(codecs.encode_png(mask))
    (masks / "t.jpg.png").write_bytes(codecs.encode_png(mask))
    (folder / "t.jpg").write_bytes(_with_orientation(codecs.encode_jpeg(np.zeros((6, 8, 3), np.uint8)), 6))
    first, second, turned = find_images(folder, masks, MANY)
    np.testing.assert_array_equal(load_image(first, MANY).mask, mask)
    assert load_image(second, MANY).mask is None
    assert first.content_id != second.content_id
    loaded = load_image(turned, MANY)
    assert loaded.image.shape == (8, 6, 3)
    assert np.argwhere(loaded.mask == 0).tolist() == [[0, 5]]  # a quarter turn to the right: to the right upper corner


def test_transparent_pixels_are_masked_too(folder, tmp_path):
    import cv2

    masks = tmp_path / "masks"
    masks.mkdir()
    pixels = np.full((6, 8, 4), 255, np.uint8)
    pixels[:, 0, 3] = 0
    (folder / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    mask = np.full((6, 8), 255, np.uint8)
    mask[0] = 0
    (masks / "a.png.png").write_bytes(codecs.encode_png(mask))
    found = load_image(find_images(folder, masks, MANY)[0], MANY).mask
    assert (found > 0).sum() == 5 * 7


def test_what_cannot_be_used_is_named(folder, tmp_path):
    with pytest.raises(InvalidInput, match="nowhere: no such folder"):
        find_images(tmp_path / "nowhere", None, MANY)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="empty: no images; a reconstruction needs at least two"):
        find_images(tmp_path / "empty", None, MANY)
    (folder / "b/c.PNG").unlink()
    with pytest.raises(InvalidInput, match="images: one image"):
        find_images(folder, None, MANY)
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(InvalidInput, match=r"a\.png: 8x6 pixels exceed"):
        find_images(folder, None, 40)
    (folder / "e.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InvalidInput, match=r"e\.heic: not a readable image.*export it as JPEG"):
        find_images(folder, None, MANY)


def test_damage_behind_the_header_is_named_when_the_image_is_read(folder):
    whole = codecs.encode_png(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8))
    (folder / "a.png").write_bytes(whole[:40])
    with pytest.raises(InvalidInput, match=r"a\.png: not a readable image"):
        load_image(find_images(folder, None, MANY)[0], MANY)


def test_a_mirrored_photograph_is_refused(folder):
    (folder / "m.jpg").write_bytes(_with_orientation(codecs.encode_jpeg(np.zeros((6, 8, 3), np.uint8)), 2))
    with pytest.raises(InvalidInput, match=r"m\.jpg: its EXIF data ask to mirror it"):
        find_images(folder, None, MANY)


def test_masks_that_do_not_fit_are_named(folder, tmp_path):
    masks = tmp_path / "masks"
    with pytest.raises(InvalidInput, match="masks: no such folder"):
        find_images(folder, masks, MANY)
    masks.mkdir()
    (masks / "a.png").write_bytes(codecs.encode_png(np.ones((6, 8), np.uint8)))
    with pytest.raises(InvalidInput, match=r"none of an image of .*; expected names like a\.png\.png"):
        find_images(folder, masks, MANY)
    (masks / "a.png.png").write_bytes(codecs.encode_png(np.ones((5, 8), np.uint8)))
    with pytest.raises(InvalidInput, match=r"a\.png\.png: 8x5 pixels, but .*a\.png has 8x6"):
        load_image(find_images(folder, masks, MANY)[0], MANY)
