"""Every number of the augmentation, and the named sets of them. Imports no torch.

Sources: the paper (GIM, ICLR 2024, Sec. 3.1 "Strong data augmentation", and Table 2); the published training code
(xuelunshen/gim, branches `train-gim-*`: `datasets/walk/walk.py`, `datasets/utils.py`, `datasets/augment.py`); for
synthetic pairs glue-factory's `configs/superpoint+lightglue_homography.yaml` and its photometric set `lg`.
"""

from dataclasses import dataclass, field, replace

from gim.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PhotometricConfig:
    """How often and how far colours and sharpness change. Nothing here moves a pixel.

    Lengths are pixels of the frame as it was read, or of the sample where that shows the scene larger.
    """

    probability: float = 0.0  # of an image to be changed at all; those below are of the images that are
    brightness_contrast_probability: float = 0.0
    brightness: Range = (0.0, 0.0)  # share of white that is added
    contrast: Range = (0.0, 0.0)  # added to the factor 1 of every value
    blur_probability: float = 0.0
    blur_px: tuple[int, int] = (3, 3)  # odd sides of a box
    motion_blur_probability: float = 0.0
    motion_blur_px: tuple[int, int] = (3, 3)  # odd sides of the square in which the motion lies
    gamma_probability: float = 0.0
    gamma: Range = (1.0, 1.0)  # exponent of values in [0, 1]
    hsv_probability: float = 0.0
    hue: Range = (0.0, 0.0)  # added, half degrees as in OpenCV
    saturation: Range = (0.0, 0.0)  # added, of 255
    value: Range = (0.0, 0.0)  # added, of 255


@dataclass(frozen=True, slots=True)
class GeometryConfig:
    """How the images of a pair are scaled, cropped and warped; "labelled" are pairs whose truth is `Labels`."""

    fill_probability: float = 0.0  # of an image to fill the size and lose what stands over, instead of fitting into it
    rescale_probability: float = 0.0  # of an image to be scaled further, by one of:
    rescale_labelled0: Range = (1.0, 1.0)
    rescale_labelled1: Range = (1.0, 1.0)  # never so far that the last labelled row or column can be lost
    rescale_other: Range = (1.0, 1.0)
    perspective_labelled: float = 0.0  # probability that image 1 is warped
    perspective_other: float = 0.0
    corner_shift: float = 0.0  # each corner moves by up to this share of the width and of the height
    rotation_deg: float = 0.0  # then the image turns about its centre by up to this, either way


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """What happens to the pairs of a data set."""

    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """How two views of one image are made: each is a random quadrangle inside it, seen as a whole image.

    As in glue-factory's homography pretraining, after SuperPoint's (CVPRW 2018, Sec. 5.2).
    """

    difficulty: float = 0.7  # each corner moves in by up to half of this share of the sides: perspective and scale
    max_angle_deg: float = 45.0  # times `difficulty`: the largest rotation
    angle_tries: int = 10  # angles drawn until the turned quadrangle is inside the image; else it is not turned
    translation: float = 1.0  # share of the room that is left, by which the quadrangle moves
    min_convexity: float = 0.05  # of a corner: cross product of its sides, in sides of the image
    min_overlap: float = 0.1  # share of view 0 that is seen in view 1, and the reverse (ours)
    max_tries: int = 30  # of two views with that overlap, then the image is skipped (ours)
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)


# The set "dark", which LoFTR made for Aachen's nights and the published code uses on MegaDepth and on video. Each image
# has it with 0.5, and then it does something with 0.75. Hue and saturation: albumentations 1.0.1's, which it leaves on.
DARK = PhotometricConfig(
    probability=0.5 * 0.75,
    brightness_contrast_probability=0.75,
    brightness=(-0.6, 0.0),
    contrast=(-0.5, 0.3),
    blur_probability=0.1,
    blur_px=(3, 9),
    motion_blur_probability=0.2,
    motion_blur_px=(3, 25),
    gamma_probability=0.1,
    gamma=(0.15, 0.65),
    hsv_probability=0.1,
    hue=(-20, 20),
    saturation=(-30, 30),
    value=(-100, -40),
)

# glue-factory's set "lg" without its local equalisation, noise and JPEG artefacts: dark, but brighter and more often.
LIGHT = replace(
    DARK,
    probability=0.95,
    brightness_contrast_probability=0.5,
    brightness=(-0.4, 0.0),
    contrast=(-0.3, 0.0),
    motion_blur_probability=0.1,
)

# Table 2, "w/o data augmentation".
NONE = AugmentConfig()

# The text: "for each pair of video frames, we perform random perspective transformations beyond standard augmentations
# used in existing methods". It gives no number, so all are the published code's: which image is warped, how often and
# how far, and what is standard. The text names no rotation, crop or rescaling.
PAPER = AugmentConfig(DARK, GeometryConfig(perspective_labelled=0.9, corner_shift=0.25))

# The published code as it is, of all data sets; two branches rescale ScanNet with 0.8, which has no recipe of its own.
UPSTREAM = AugmentConfig(
    DARK,
    GeometryConfig(
        fill_probability=0.5,
        rescale_probability=0.5,
        rescale_labelled0=(0.6, 1.0),
        rescale_labelled1=(1.0, 1.4),
        rescale_other=(0.6, 1.4),
        perspective_labelled=0.9,
        perspective_other=0.9,
        corner_shift=0.25,
        rotation_deg=180.0,
    ),
)

SYNTHETIC = SyntheticConfig(photometric=LIGHT)

_RECIPES = {"none": NONE, "paper": PAPER, "upstream": UPSTREAM}


def augment_recipe(name: str) -> AugmentConfig:
    """A set of numbers by name: none, paper or upstream.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in _RECIPES:
        raise ConfigError(f"sample.augment {name!r}: use one of {', '.join(_RECIPES)}")
    return _RECIPES[name]
