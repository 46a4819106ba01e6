"""Two views of a road as seen from above: the homography of the ground from matches, and both images laid on it.

The picture of the paper (GIM, ICLR 2024, bird's-eye views of a road). The ground is the plane below the camera that
most matches of the images' lower parts move on; its slant comes from the decomposition of the homography. Reads and
writes no files.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gim.errors import InvalidInput
from gim.geometry.caption import add_caption
from gim.geometry.homography import transfer_distance_px, warp_image
from gim.geometry.robust import fit_homography
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array

_MAX_PLANES = 8  # looked at, the one with the most matches first
_LEAST_DETAIL = 1 / 16  # image pixels per map pixel; with fewer the map is smeared out, and left black
_GAP = 8
_GAP_COLOUR = 24


@dataclass(frozen=True, slots=True)
class BirdsEyeConfig:
    """What counts as the ground, and how much of it is drawn. Lengths are in heights of the camera above it."""

    top_share: float = 0.5  # matches above this share of image 0's height are no ground
    threshold_px: float = 2.0
    min_matches: int = 12
    max_slant_deg: float = 20.0  # of the ground, to the camera's own idea of level
    ahead: float = 14.0  # how far the picture reaches
    aside: float = 5.0  # to each side
    width_px: int = 500  # of one view
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """The ground below camera 0, and how it moves the pixels on it."""

    H01: Float64Array  # [3, 3], x1 ~ H01 x0, pixels
    normal: Float64Array  # [3] unit, in the axes of camera 0, pointing down
    inliers: BoolArray  # [N] of the matches

    @property
    def slant_deg(self) -> float:
        """Between the ground and camera 0's level."""
        return float(np.degrees(np.arccos(np.clip(self.normal[1], -1, 1))))


def find_ground(
    points: Float32Array,
    K0: npt.ArrayLike,
    K1: npt.ArrayLike,
    height0: int,
    config: BirdsEyeConfig = BirdsEyeConfig(),
) -> GroundPlane:
    """The ground plane, by RANSAC among matches of the lower part of image 0; planes that stand upright are put aside.

    Args:
        points: float32 [N, 4] rows (x0, y0, x1, y1), pixels.
        K0: [3, 3] intrinsics of camera 0, pixels; camera 0 is held about level.
        K1: [3, 3] of camera 1.
        height0: of image 0, pixels.
        config: what counts as ground.

    Raises:
        InvalidInput: no plane of enough matches is level.
    """
    K0, K1 = np.asarray(K0, np.float64), np.asarray(K1, np.float64)
    rows = np.asarray(points, np.float64)
    left = np.flatnonzero(rows[:, 1] >= config.top_share * height0)
    num_low = len(left)
    for _ in range(_MAX_PLANES):
        fit = fit_homography(points[left], threshold_px=config.threshold_px, seed=config.seed)
        if fit is None or np.count_nonzero(fit.inliers) < config.min_matches:
            break
        for normal in _normals(fit.H01, K0, K1, rows[left[fit.inliers], :2]):
            plane = GroundPlane(fit.H01, normal, transfer_distance_px(points, fit.H01) < config.threshold_px)
            if plane.slant_deg <= config.max_slant_deg:
                return plane
        left = left[~fit.inliers]
    raise InvalidInput(
        f"no ground: of {num_low} matches in the lower part of image 0 no {config.min_matches} lie on one level plane; "
        "take views further apart, a matcher that finds more on roads, or give the cameras' intrinsics"
    )


def top_view(K0: npt.ArrayLike, normal: Float64Array, config: BirdsEyeConfig = BirdsEyeConfig()) -> Float64Array:
    """H_top_to_0 [3, 3]: from pixels of a map of the ground, forward being up, to pixels of image 0.

    A map's pixel (u, v) is the point X = (u - centre) * s to the right and Z = (bottom - v) * s ahead, on the ground
    one height below the camera; X and Z are level and Z is camera 0's forward as far as it is level.
    """
    ahead = np.array([0.0, 0.0, 1.0]) - normal[2] * normal
    ahead /= np.linalg.norm(ahead)
    aside = np.cross(normal, ahead)
    width, height = map_size(config)
    step = 2 * config.aside / width
    to_ground = np.array([[step, 0, -step * (width - 1) / 2], [0, -step, step * (height - 1)], [0, 0, 1]])
    return np.asarray(np.asarray(K0, np.float64) @ np.column_stack([aside, ahead, normal]) @ to_ground)


def map_size(config: BirdsEyeConfig) -> tuple[int, int]:
    """Width and height of the map, pixels."""
    return config.width_px, round(config.width_px * config.ahead / (2 * config.aside))


def draw_birds_eye(
    image0: Uint8Array,
    image1: Uint8Array,
    plane: GroundPlane,
    K0: npt.ArrayLike,
    config: BirdsEyeConfig = BirdsEyeConfig(),
) -> Uint8Array:
    """Image 0 from above, image 1 laid onto it by the homography, and both: red 0, cyan 1, grey where they agree.

    Args:
        image0: uint8 RGB [H0, W0, 3].
        image1: uint8 RGB [H1, W1, 3].
        plane: the ground.
        K0: [3, 3] intrinsics of camera 0, pixels.
        config: what is drawn.

    Returns:
        uint8 RGB [H, W, 3].
    """
    H_top_to_0 = top_view(K0, plane.normal, config)
    width, height = map_size(config)
    views = []
    for image, H in ((image0, H_top_to_0), (image1, plane.H01 @ H_top_to_0)):
        is_seen = _is_sharp(H, width, height, image.shape)
        views.append((warp_image(image, H, width=width, height=height) * is_seen[..., None], is_seen))
    last = int(np.flatnonzero((views[0][1] | views[1][1]).any(axis=1)).max(initial=0)) + 1
    views = [(view[:last], is_seen[:last]) for view, is_seen in views]  # no camera sees the ground below it
    (view0, seen0), (view1, seen1) = views
    named = [
        add_caption(view, text)
        for view, text in (
            (view0, "image 0 from above"),
            (view1, "image 1 by the homography"),
            (_blended(views), "both"),
        )
    ]
    gap = np.full((named[0].shape[0], _GAP, 3), _GAP_COLOUR, np.uint8)
    title = (
        f"{np.count_nonzero(plane.inliers)} of {len(plane.inliers)} matches on the ground, which is "
        f"{plane.slant_deg:.1f} degrees from level; both views agree by {agreement(view0, view1, seen0 & seen1):.2f}"
    )
    return add_caption(np.hstack([named[0], gap, named[1], gap, named[2]]), title)


def agreement(view0: Uint8Array, view1: Uint8Array, seen: BoolArray) -> float:
    """Correlation of the brightness of two maps where both are seen; 0 where nothing is."""
    bright0, bright1 = (view.mean(axis=2)[seen] for view in (view0, view1))
    if len(bright0) < 2 or bright0.std() == 0 or bright1.std() == 0:
        return 0.0
    return float(np.corrcoef(bright0, bright1)[0, 1])


def _normals(H01: Float64Array, K0: Float64Array, K1: Float64Array, keypoints0: Float64Array) -> Iterator[Float64Array]:
    """The plane's normals that the homography allows, pointing away from camera 0, the most level first.

    Of up to four decompositions (Malis and Vargas, 2007) two remain whose points are in front of the camera.
    """
    euclidean = np.linalg.inv(K1) @ H01 @ K0
    _, _, _, normals = cv2.decomposeHomographyMat(euclidean, np.eye(3))
    rays = np.column_stack([keypoints0, np.ones(len(keypoints0))]) @ np.linalg.inv(K0).T
    found = []
    for normal in (np.asarray(item, np.float64).ravel() for item in normals):
        depth = rays @ normal
        if np.isfinite(depth).all() and (np.all(depth > 0) or np.all(depth < 0)):
            found.append(normal * np.sign(depth[0]))
    yield from sorted(found, key=lambda normal: -normal[1])


def _is_sharp(H: Float64Array, width: int, height: int, shape: tuple[int, ...]) -> BoolArray:
    """Where the map [height, width] shows pixels of the image, in front of its camera and not smeared out."""
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    x, y, w = np.moveaxis(np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ H.T, -1, 0)
    w = np.where(w > 1e-9, w, np.nan)
    x, y = x / w, y / w
    area = np.abs(np.linalg.det(H)) / np.abs(w) ** 3  # image pixels per map pixel (the Jacobian of a homography)
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)
        return np.asarray(inside & (area >= _LEAST_DETAIL))


def _blended(views: list[tuple[Uint8Array, BoolArray]]) -> Uint8Array:
    (view0, seen0), (view1, seen1) = views
    grey0, grey1 = (np.asarray(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), np.uint8) for view in (view0, view1))
    # Where one camera alone sees, its own grey is all there is to show.
    red = np.where(seen0, grey0, grey1)
    cyan = np.where(seen1, grey1, grey0)
    return np.dstack([red, cyan, cyan])
