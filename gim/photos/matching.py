"""Two photographs: matched by one matcher, timed without its start-up, fitted, drawn. Reads and writes no files."""

import time
from dataclasses import dataclass

import numpy as np

from gim.errors import InvalidInput
from gim.geometry.draw import draw_certainty, draw_correspondences
from gim.geometry.homography import warp_image
from gim.geometry.robust import FundamentalFit, HomographyFit, RobustFitConfig, fit_fundamental, fit_homography
from gim.matchers.base import Matcher
from gim.matchers.network import NetworkMatcher, WarpMatcher
from gim.matchers.registry import matcher_class, matcher_names, matcher_status
from gim.photos.reading import Photo
from gim.records import BoolArray, Correspondences, DenseWarp, ImagePair, Uint8Array

_HOMOGRAPHY_THRESHOLD_PX = 8.0  # as in the original's demo: a scene is rarely one plane


@dataclass(frozen=True, slots=True)
class PhotoMatch:
    """What one matcher says of two photographs."""

    matcher: str
    device: str
    seconds: float  # of matching alone: neither reading, nor loading weights, nor fitting
    found: Correspondences
    inliers: BoolArray  # [N] of the fundamental matrix; none without one
    epipolar: FundamentalFit | None
    plane: HomographyFit | None  # of the inliers

    @property
    def title(self) -> str:
        """One line for above the pictures."""
        return (
            f"{self.matcher}: {self.inliers.sum()} inliers of {len(self.inliers)} matches, "
            f"{self.seconds:.2f} s on {self.device}"
        )


def match_photos(matcher: Matcher, photo0: Photo, photo1: Photo, fit: RobustFitConfig) -> PhotoMatch:
    """Match two photographs and fit an epipolar geometry, and a homography to its inliers."""
    pair = image_pair(photo0, photo1)
    device = _start(matcher, pair)
    begin = time.perf_counter()
    (found,) = matcher.match_pairs([pair])
    return fit_match(matcher.name, device, time.perf_counter() - begin, found, fit)


def fit_match(matcher: str, device: str, seconds: float, found: Correspondences, fit: RobustFitConfig) -> PhotoMatch:
    """Fit an epipolar geometry to what was found, and a homography to its inliers."""
    epipolar = fit_fundamental(found.points, fit)
    inliers = epipolar.inliers if epipolar else np.zeros(len(found.points), bool)
    plane = fit_homography(found.points[inliers], threshold_px=_HOMOGRAPHY_THRESHOLD_PX)
    return PhotoMatch(matcher, device, seconds, found, inliers, epipolar, plane)


def image_pair(photo0: Photo, photo1: Photo) -> ImagePair:
    """Two photographs as matchers take them."""
    return ImagePair(photo0.image, photo1.image, photo0.mask, photo1.mask)


def draw_match(photo0: Photo, photo1: Photo, match: PhotoMatch) -> Uint8Array:
    """The match's picture: RGB [H, W, 3]."""
    return draw_correspondences(photo0.image, photo1.image, match.found.points, match.inliers, title=match.title)


def warp_onto(photo0: Photo, photo1: Photo, match: PhotoMatch) -> Uint8Array:
    """Photograph 1 as seen from photograph 0, by the homography.

    Raises:
        InvalidInput: there is none.
    """
    if match.plane is None:
        raise InvalidInput(f"no homography fits the {len(match.inliers)} matches: leave --warp out")
    return warp_image(photo1.image, match.plane.H01, width=photo0.size[0], height=photo0.size[1])


def dense_warp(matcher: WarpMatcher, photo0: Photo, photo1: Photo) -> DenseWarp:
    """The full warp 0 -> 1 of a matcher that has one."""
    (warp, _) = matcher.warps([image_pair(photo0, photo1)])[0]
    return warp


def draw_warp_certainty(photo0: Photo, photo1: Photo, match: PhotoMatch, warp: DenseWarp) -> Uint8Array:
    """The picture of a dense warp: RGB [H, W, 3]."""
    share = float(np.mean(warp.certainty > 0.5)) if warp.certainty.size else 0.0
    title = f"{match.matcher}: certainty above 0.5 on {share:.0%} of image 0, {match.seconds:.2f} s on {match.device}"
    return draw_certainty(photo0.image, photo1.image, warp, title=title)


def names_with_warp() -> list[str]:
    """Matchers of this installation that give a dense warp."""
    runnable = (name for name in matcher_names() if not matcher_status(name))
    return [name for name in runnable if issubclass(matcher_class(name), WarpMatcher)]


def _start(matcher: Matcher, pair: ImagePair) -> str:
    """Have everything loaded that a first call loads; the device in words."""
    if not isinstance(matcher, NetworkMatcher):
        return "cpu"
    _ = matcher.network
    if matcher.device.type != "cpu" or matcher.resources.inference.compile:
        matcher.match_pairs([pair])  # kernels are chosen, and compiled, at the first call with a size
    return str(matcher.device)
