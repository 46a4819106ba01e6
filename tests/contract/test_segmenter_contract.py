"""What every segmenter promises. Each file of `gim/video/segmenters/` is found by itself."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from gim import keys
from gim.errors import ConfigError, InvalidInput, ShapeError, Unavailable
from gim.inference.config import InferenceConfig
from gim.video.config import SegmenterConfig
from gim.video.segmenter import USUALLY_MASKED, Segmenter
from gim.video.segmenters.registry import load_segmenter, segmenter_class, segmenter_names, segmenter_status
from tests.segmenter_files import drawn_person, files_of

ON_CPU = InferenceConfig(device="cpu")


@pytest.fixture(scope="module", params=segmenter_names())
def config(request, tmp_path_factory, shared_if_there) -> SegmenterConfig:
    """Settings of a segmenter, masking a class that it sees in a part of the picture."""
    name = request.param
    if reason := segmenter_status(name):
        pytest.skip(f"{name} {reason}")
    files = files_of(name, tmp_path_factory.mktemp(name), shared_if_there)
    if files is None:
        pytest.skip(f"no weights of {name} without the sample data")
    config = SegmenterConfig(name, **files.settings, grow_px=0)
    if not files.is_real:
        config = replace(config, classes=(second_class(load(config)),))
    return config


@pytest.fixture(scope="module")
def segmenter(config) -> Segmenter:
    return load(config)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return drawn_person()[0]


def load(config, inference=ON_CPU) -> Segmenter:
    found = load_segmenter(config, inference)
    assert found is not None
    return found


def like(segmenter, **changes) -> Segmenter:
    """With other settings, and the same network without loading it again."""
    other = load(replace(segmenter.config, **changes))
    vars(other)["_network"] = segmenter._network
    return other


def second_class(segmenter) -> str:
    """Of the classes seen in the picture the one of the second largest area."""
    image = cv2.resize(drawn_person()[0], segmenter.classified_size(480, 360), interpolation=cv2.INTER_AREA)
    ((labels, _),) = segmenter._classify([image])
    seen, areas = np.unique(labels, return_counts=True)
    assert len(seen) > 1
    return segmenter.classes[seen[np.argsort(areas)[-2]]]


def test_masks_have_the_size_of_their_images_and_mask_a_part(segmenter, picture):
    before = picture.copy()
    (mask,) = segmenter.masks([picture])
    assert mask.dtype == np.uint8
    assert mask.shape == picture.shape[:2]
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(picture, before)


def test_masks_of_many_images_of_mixed_sizes_are_those_of_each(segmenter, picture):
    images = [picture, picture[:, ::-1].copy(), picture[:200, :150].copy(), picture]
    together = segmenter.masks(images)
    for image, mask in zip(images, together, strict=True):
        (alone,) = segmenter.masks([image])
        assert mask.shape == image.shape[:2]
        assert (mask == alone).mean() > 0.999  # a batch of another size may round otherwise, where two classes tie
    np.testing.assert_array_equal(together[0], together[3])
    np.testing.assert_array_equal(segmenter.mask(picture), segmenter.masks([picture])[0])
    assert segmenter.masks([]) == []


def test_masks_are_the_same_from_call_to_call_and_thread_to_thread(segmenter, picture):
    expected = segmenter.masks([picture])[0]
    with ThreadPoolExecutor(3) as pool:
        for (found,) in pool.map(lambda _: segmenter.masks([picture]), range(4)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 90), (63, 17), (360, 480)])
def test_tiny_odd_and_grey_images_do_not_fail(segmenter, size):
    grey = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    flat = np.zeros((*size, 3), np.uint8)
    of_grey, of_rgb, of_flat = segmenter.masks([grey, np.dstack([grey] * 3), flat])
    assert of_grey.shape == of_flat.shape == size
    np.testing.assert_array_equal(of_grey, of_rgb)


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 4), np.uint8), np.zeros(9, np.uint8)]
)
def test_masks_of_what_is_no_image_say_so(segmenter, image):
    with pytest.raises(ShapeError, match="expected a uint8 image"):
        segmenter.masks([image])


def test_classes_divide_the_picture(segmenter, picture):
    """A class and all the others have no pixel in common; all classes together leave none."""
    (of_one,) = segmenter.masks([picture])
    others = tuple(name for name in segmenter.classes if name not in segmenter.masked_classes)
    (of_others,) = like(segmenter, classes=others).masks([picture])
    np.testing.assert_array_equal(of_one == 0, of_others == 255)
    (of_all,) = like(segmenter, classes=segmenter.classes).masks([picture])
    assert not of_all.any()


def test_confidence_only_frees_pixels(segmenter, picture):
    (usual,) = segmenter.masks([picture])
    (sure,) = like(segmenter, confidence=0.999).masks([picture])
    assert (sure >= usual).all()
    (never,) = like(segmenter, confidence=1.01).masks([picture])
    assert never.all()


def test_grow_masks_what_is_within_that_distance(segmenter, picture):
    (usual,) = segmenter.masks([picture])
    (grown,) = like(segmenter, grow_px=5).masks([picture])
    distance = cv2.distanceTransform(usual, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert (grown[distance <= 4.5] == 0).all()
    assert (grown[distance > 6] == 255).all()
    assert (grown == 0).sum() > (usual == 0).sum()


def test_the_id_names_what_changes_the_masks_and_nothing_else(config):
    usual = load(config).segmenter_id
    assert keys.validate_key(usual).startswith(f"{config.name}-")
    assert load(config, InferenceConfig(device="cpu", batch_size=1)).segmenter_id == usual
    others = [
        load(replace(config, max_side_px=64)).segmenter_id,
        load(replace(config, confidence=0.7)).segmenter_id,
        load(replace(config, grow_px=2)).segmenter_id,
        load(replace(config, classes=segmenter_class(config.name).classes)).segmenter_id,
        load(config, InferenceConfig(device="cpu", precision="bfloat16")).segmenter_id,
    ]
    assert len({usual, *others}) == 6


def test_without_named_classes_the_usual_ones_are_masked(config):
    known = segmenter_class(config.name).classes
    assert "person" in known
    assert len(set(known)) == len(known)
    assert load(replace(config, classes=())).masked_classes == tuple(name for name in USUALLY_MASKED if name in known)


def test_a_class_it_does_not_know_is_refused_with_those_it_knows(config):
    with pytest.raises(ConfigError, match=r"knows no class 'persn' \(did you mean person.*it knows: .*person"):
        load(replace(config, classes=("persn",)))


def test_another_number_of_weights_is_refused(config):
    with pytest.raises(ConfigError, match=f"segmenter.weights = .*: {config.name} takes"):
        load(replace(config, weights=(*config.weights, config.weights[0])))


def test_weights_that_are_absent_or_damaged_are_refused(config, picture, tmp_path):
    absent = [str(tmp_path / name.rpartition("/")[2]) for name in config.weights]
    with pytest.raises((Unavailable, InvalidInput), match=absent[0]):
        load(replace(config, weights=tuple(absent)))
    for path, whole in zip(absent, config.weights, strict=True):
        with Path(whole).open("rb") as file:
            Path(path).write_bytes(file.read(20_000))
    with pytest.raises(InvalidInput, match="weights"):
        load(replace(config, weights=tuple(absent))).masks([picture])
