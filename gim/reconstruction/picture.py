"""A picture of a model: its points and cameras from above and from the side. Reads and writes no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gim.geometry.caption import add_caption
from gim.geometry.trees import kd_tree
from gim.records import BoolArray, Float64Array, Uint8Array

_WIDTH = 1600
_MIN_HEIGHT, _MAX_HEIGHT = 260, 1000  # of one view
_MARGIN = 0.05  # of the width
_SMOOTHING = 2  # drawn so much larger, then shrunk
_GROUND = (18, 20, 25)
_GAP = (60, 64, 72)
_FRUSTUM, _LEAST_FRUSTUM = 0.022, 0.009  # depth, of the picture's width
_SPREAD = 98.0  # percentile of the points' distances that is in the picture, times `_BEYOND`
_BEYOND = 1.25
_LEAST_BRIGHTNESS = 70  # of a point, 0 to 255: shadows would be lost on the dark ground
_TRUST_IN_MEAN = 0.01  # of what is down, against the horizontals
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class DrawnCamera:
    """Where one camera stands."""

    centre: Float64Array  # [3]
    corners: Float64Array  # [4, 3] directions to the corners of its image, of equal depth 1, in the model's axes
    down: Float64Array  # [3] what is down for whoever sees its image upright


@dataclass(frozen=True, slots=True)
class _View:
    """Places of the model in one panel."""

    axes: Float64Array  # [2, 3] to the right and downwards on the panel
    origin: Float64Array  # [2] of the panel's corner, model units
    scale: float  # pixels per unit
    size: tuple[int, int]

    def place(self, points: Float64Array) -> Float64Array:
        return np.asarray((points @ self.axes.T - self.origin) * self.scale)


def draw_model(points: Float64Array, colours: Uint8Array, cameras: Sequence[DrawnCamera], title: str) -> Uint8Array:
    """The points and cameras of a model, from above over from the side, to one scale.

    Args:
        points: [P, 3].
        colours: uint8 RGB [P, 3].
        cameras: at least one, in order; they go from blue to yellow.
        title: ASCII, drawn above.

    Returns:
        uint8 RGB [H, 1600, 3].
    """
    centres = np.stack([camera.centre for camera in cameras])
    near = _near(points, centres)
    points, colours = points[near], colours[near]
    everything = np.vstack([points, centres])
    across, along, down = _axes(everything, _down(cameras))
    width = _WIDTH * _SMOOTHING
    scale = width * (1 - 2 * _MARGIN) / max(float(np.ptp(everything @ across)), 1e-9)
    views = [_view(everything, np.stack(axes), scale, width) for axes in ((across, along), (across, down))]
    # Seen from above the highest is drawn last, from the side the nearest.
    panels = [
        _panel(view, points, colours, cameras, order)
        for view, order in zip(views, (np.argsort(-(points @ down)), np.argsort(-(points @ along))), strict=True)
    ]
    labelled = [add_caption(panel, text) for panel, text in zip(panels, ("from above", "from the side"), strict=True)]
    line = np.full((2, _WIDTH, 3), _GAP, np.uint8)
    return add_caption(np.vstack([labelled[0], line, labelled[1]]), title)


def _near(points: Float64Array, centres: Float64Array) -> BoolArray:
    """Without the few points far out, whose depth is a guess and would leave the rest a speck."""
    distance = np.linalg.norm(points - np.median(centres, axis=0), axis=1)
    if len(points) == 0:
        return np.zeros(0, np.bool_)
    middle = np.median(points, axis=0)
    spread = np.linalg.norm(points - middle, axis=1)
    bound = max(4 * float(np.median(spread)), float(np.linalg.norm(centres - middle, axis=1).max()))
    return np.asarray((spread <= bound) & (distance <= _BEYOND * np.percentile(distance, _SPREAD)))


def _down(cameras: Sequence[DrawnCamera]) -> Float64Array:
    """Where things fall: square to what is level for the photographers, who tilt a camera up more often than sideways.

    The mean of what is down in the images, corrected as far as their horizontals, of several directions, tell better.
    """
    downs = np.stack([camera.down for camera in cameras])
    level = np.cross(downs, np.stack([camera.corners.mean(axis=0) for camera in cameras]))
    level /= np.linalg.norm(level, axis=1, keepdims=True)
    mean = downs.mean(axis=0)
    spread = level.T @ level / len(level)
    down = np.linalg.solve(spread + _TRUST_IN_MEAN * np.eye(3), mean)
    return np.asarray(down / max(float(np.linalg.norm(down)), 1e-12))


def _axes(everything: Float64Array, down: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Across: the longest level direction; along: the other; down, as it is."""
    level = everything - everything.mean(axis=0)
    level = level - np.outer(level @ down, down)
    across = np.linalg.svd(level, full_matrices=False)[2][0]
    across -= (across @ down) * down
    across /= max(float(np.linalg.norm(across)), 1e-12)
    across *= 1 if across[np.argmax(np.abs(across))] > 0 else -1  # a singular vector has no sign of its own
    along = np.cross(down, across)  # away from who looks from the side: upwards on the map is further off
    return across, -along, down


def _view(everything: Float64Array, axes: Float64Array, scale: float, width: int) -> _View:
    flat = everything @ axes.T
    low, high = flat.min(axis=0), flat.max(axis=0)
    wanted = int(scale * (high[1] - low[1]) + 2 * _MARGIN * width)
    height = int(np.clip(wanted, _MIN_HEIGHT * _SMOOTHING, _MAX_HEIGHT * _SMOOTHING)) // _SMOOTHING * _SMOOTHING
    origin = (low + high) / 2 - np.array([width, height]) / (2 * scale)
    return _View(axes, origin, scale, (width, height))


def _panel(
    view: _View,
    points: Float64Array,
    colours: Uint8Array,
    cameras: Sequence[DrawnCamera],
    order: np.ndarray[tuple[int], np.dtype[np.intp]],
) -> Uint8Array:
    canvas = np.full((view.size[1], view.size[0], 3), _GROUND, np.uint8)
    radius = int(np.clip(8.0 * (2000 / max(len(points), 1)) ** 0.25, 3, 10))
    places = view.place(points)
    bright = _brightened(colours)
    for row in order:
        cv2.circle(
            canvas,
            _fixed(places[row]),
            radius << (_SUBPIXEL_BITS - 1),
            bright[row].tolist(),
            -1,
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )
    tints = cv2.applyColorMap(np.linspace(70, 250, len(cameras)).astype(np.uint8), cv2.COLORMAP_VIRIDIS).reshape(-1, 3)[
        :, ::-1
    ]
    depth = _frustum_depth(cameras, view.size[0] / view.scale)
    for camera, tint in zip(cameras, tints, strict=True):
        _draw_camera(canvas, view, camera, depth, tuple(int(value) for value in tint))
    size = (view.size[0] // _SMOOTHING, view.size[1] // _SMOOTHING)
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)


def _draw_camera(canvas: Uint8Array, view: _View, camera: DrawnCamera, depth: float, tint: tuple[int, ...]) -> None:
    centre = _fixed(view.place(camera.centre[None])[0])
    corners = [_fixed(place) for place in view.place(camera.centre + depth * camera.corners)]
    for start, end in [
        *((centre, corner) for corner in corners),
        *zip(corners, corners[1:] + corners[:1], strict=True),
    ]:
        cv2.line(canvas, start, end, tint, _SMOOTHING, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.circle(canvas, centre, 3 * _SMOOTHING << (_SUBPIXEL_BITS - 1), tint, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _frustum_depth(cameras: Sequence[DrawnCamera], width: float) -> float:
    """In units of the model, of which the picture shows `width`; smaller where cameras stand close together."""
    centres = np.stack([camera.centre for camera in cameras])
    if len(centres) < 2:
        return _FRUSTUM * width
    nearest = kd_tree(centres).query(centres, k=2)[0][:, 1]
    return float(np.clip(np.median(nearest), _LEAST_FRUSTUM * width, _FRUSTUM * width))


def _brightened(colours: Uint8Array) -> Uint8Array:
    values = colours.astype(np.float64)
    brightest = np.maximum(values.max(axis=1, keepdims=True), 1)
    return np.asarray(np.minimum(values * np.maximum(1, _LEAST_BRIGHTNESS / brightest), 255), np.uint8)


def _fixed(place: Float64Array) -> tuple[int, int]:
    x, y = np.rint(np.clip(place, -1e4, 1e5) * 2**_SUBPIXEL_BITS)
    return int(x), int(y)
