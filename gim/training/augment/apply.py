"""Samples as networks see them: every image at one size, warped and recoloured, with the truth carried along exactly.

All chance comes from the generator that is passed: equal generators give equal bytes. Imports no torch.
"""

import dataclasses

import numpy as np

from gim.errors import ShapeError
from gim.geometry.colour import check_image, to_rgb
from gim.geometry.pixels import is_inside
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array
from gim.training.augment.config import AugmentConfig, PhotometricConfig, SyntheticConfig
from gim.training.augment.geometry import Size, draw_pair, draw_views
from gim.training.augment.photometric import PhotometricDraw, draw_photometric
from gim.training.augment.warp import warp_photograph, warp_valid
from gim.training.samples import Homography, Labels, Sample, SampleSkipped, Truth

Maps = tuple[Float64Array, Float64Array]
Valids = tuple[BoolArray, BoolArray]
Photometrics = tuple[PhotometricDraw, PhotometricDraw]
_UNCHANGED = (PhotometricDraw(), PhotometricDraw())


def augment_pair(
    sample: Sample, config: AugmentConfig, size: Size, rng: np.random.Generator, *, min_labels: int, max_tries: int
) -> Sample:
    """One random augmentation of a pair.

    Both images are made to fit `size`, larger or smaller, in their own aspect and at the top left; the rest is black
    and not valid. Labels outside either image or on pixels that are not valid are left out; where too few are left, the
    geometry is drawn anew, as upstream does.

    Args:
        sample: as it was read; grey images [H, W] are taken too.
        config: from `augment_recipe`.
        size: (width, height) of both images afterwards, pixels.
        rng: the only source of chance.
        min_labels: of a truth of `Labels`; other truths have no such limit.
        max_tries: draws of the geometry.

    Raises:
        SampleSkipped: `too_few_labels`, after all tries.
        ShapeError: an image or its mask is not what `Sample` says.
    """
    sample = _checked(sample)
    photometrics = _draw_photometrics(config.photometric, rng)
    sizes = _size(sample.image0), _size(sample.image1)
    if not isinstance(sample.truth, Labels):
        A0, A1 = draw_pair(config.geometry, sizes, size, rng)
        return warp_sample(sample, A0, A1, size, photometrics=photometrics)
    usable = _labels_on(sample.truth, sample.valid0, sample.valid1).points
    for _ in range(max_tries if len(usable) >= max(min_labels, 1) else 0):
        maps = draw_pair(config.geometry, sizes, size, rng, labels=usable)
        moved = Labels(usable).warped(*maps)
        if _num_inside(moved, size) < min_labels:
            continue  # known without the masks, which take longer
        valids = _warp_valids(sample, maps, size)
        left = _labels_on(moved, *valids)
        if len(left.points) >= min_labels:
            return _render(dataclasses.replace(sample, truth=left), maps, valids, photometrics)
    detail = f"{sample.name}: fewer than {min_labels} of {len(usable)} labels are left in each of {max_tries} tries"
    raise SampleSkipped("too_few_labels", detail)


def synthetic_pair(
    image: Uint8Array,
    name: str,
    config: SyntheticConfig,
    size: Size,
    rng: np.random.Generator,
    *,
    part: str = "homography",
) -> Sample:
    """Two random views of one image, whose truth is the homography between them.

    Args:
        image: uint8 RGB [H, W, 3] or grey [H, W], of any size.
        name: of the sample.
        config: how far the views differ.
        size: (width, height) of both views, pixels; they have no empty pixels.
        rng: the only source of chance.
        part: of the mixture.

    Raises:
        SampleSkipped: `too_little_overlap`, after all tries.
        ShapeError: not such an image.
    """
    check_image(image)
    views = draw_views(config, _size(image), size, rng)
    if views is None:
        raise SampleSkipped("too_little_overlap", f"{name}: {config.max_tries} tries")
    valid = np.ones(image.shape[:2], np.bool_)
    frame = to_rgb(image)
    twice = Sample(name, part, frame, frame, valid, valid, Homography(np.eye(3)))
    return warp_sample(twice, *views, size, photometrics=_draw_photometrics(config.photometric, rng))


def warp_sample(
    sample: Sample, A0: Float64Array, A1: Float64Array, size: Size, *, photometrics: Photometrics = _UNCHANGED
) -> Sample:
    """A pair after each image was mapped by a homography.

    Args:
        sample: its images RGB.
        A0: [3, 3], positions of image 0 -> positions of the image returned.
        A1: of image 1.
        size: (width, height) of both images returned.
        photometrics: what happens to the colours of either.

    Returns:
        The sample with its truth warped; `Labels` outside either image or on invalid pixels are left out.
    """
    valids = _warp_valids(sample, (A0, A1), size)
    if isinstance(sample.truth, Labels):
        usable = _labels_on(sample.truth, sample.valid0, sample.valid1)
        truth: Truth = _labels_on(usable.warped(A0, A1), *valids)
    else:
        truth = sample.truth.warped(A0, A1)
    return _render(dataclasses.replace(sample, truth=truth), (A0, A1), valids, photometrics)


def _warp_valids(sample: Sample, maps: Maps, size: Size) -> Valids:
    return warp_valid(sample.valid0, maps[0], size), warp_valid(sample.valid1, maps[1], size)


def _render(sample: Sample, maps: Maps, valids: Valids, photometrics: Photometrics) -> Sample:
    """The sample with its images warped; its truth is that of the warped images already."""
    return dataclasses.replace(
        sample,
        image0=warp_photograph(sample.image0, maps[0], valids[0], photometrics[0]),
        image1=warp_photograph(sample.image1, maps[1], valids[1], photometrics[1]),
        valid0=valids[0],
        valid1=valids[1],
    )


def _draw_photometrics(config: PhotometricConfig, rng: np.random.Generator) -> Photometrics:
    return draw_photometric(config, rng), draw_photometric(config, rng)


def _checked(sample: Sample) -> Sample:
    """The sample with colour images, every array as the record says."""
    for image, valid in ((sample.image0, sample.valid0), (sample.image1, sample.valid1)):
        check_image(image)
        if valid.dtype != np.bool_ or valid.shape != image.shape[:2]:
            raise ShapeError(f"{sample.name}: expected a bool mask {image.shape[:2]}, got {valid.dtype} {valid.shape}")
    return dataclasses.replace(sample, image0=to_rgb(sample.image0), image1=to_rgb(sample.image1))


def _size(image: Uint8Array) -> Size:
    return image.shape[1], image.shape[0]


def _num_inside(labels: Labels, size: Size) -> int:
    return int(np.sum(is_inside(labels.points[:, :2], *size) & is_inside(labels.points[:, 2:], *size)))


def _labels_on(labels: Labels, valid0: BoolArray, valid1: BoolArray) -> Labels:
    """Those in whose pixels there is photograph, in both images."""
    return Labels(labels.points[_lies_on(labels.points[:, :2], valid0) & _lies_on(labels.points[:, 2:], valid1)])


def _lies_on(keypoints: Float32Array, valid: BoolArray) -> BoolArray:
    height, width = valid.shape
    inside = is_inside(keypoints, width, height)
    column, row = np.floor(np.where(inside[:, None], keypoints, 0) + 0.5).astype(np.intp).T
    return np.asarray(inside & valid[row, column])
