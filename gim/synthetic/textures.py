"""The tools that surface pictures are painted with: fractal noise, a canvas in metres, cells, cracks, lettering.

Everything is drawn from a passed generator. What a wall or a street looks like is decided in `materials`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gim.records import Float32Array, Float64Array, Uint8Array

Colour = tuple[float, float, float]  # sRGB, 0 to 255

_FRACTION_BITS = 4  # of coordinates handed to OpenCV's drawing
_CIRCLE = np.array([(math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)) for k in range(12)])
_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZ"


def fractal(
    rng: np.random.Generator, height: int, width: int, *, coarsest: float, finest: float = 1.5, roughness: float = 0.7
) -> Float32Array:
    """Noise with detail at every scale: octaves of smooth random grids, mean 0, standard deviation about 1.

    Args:
        rng: source of randomness.
        height: rows of the result.
        width: columns of the result.
        coarsest: cell of the largest octave, texels.
        finest: cells stop above this size, texels.
        roughness: amplitude of an octave is cell ** roughness; 0 is white, 1 is cloudy.

    Returns:
        float32 [height, width].
    """
    total = np.zeros((height, width), np.float32)
    cell, power = max(float(coarsest), finest), 0.0
    while cell >= finest:
        grid = rng.standard_normal((int(height / cell) + 3, int(width / cell) + 3), np.float32)
        zoom = np.array([[cell, 0, -cell * rng.random()], [0, cell, -cell * rng.random()]], np.float32)
        layer = cv2.warpAffine(grid, zoom, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        amplitude = cell**roughness
        total += amplitude * layer
        power += 0.45 * amplitude * amplitude  # interpolation between grid points halves the variance, about
        cell /= 2
    return total / np.float32(np.sqrt(power))


def speckle(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    """Grain of single texels, slightly smoothed, standard deviation about 1, float32 [height, width]."""
    grain = cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), 0.7)
    return np.asarray(grain * 2.4, np.float32)


def add_noise(image: Uint8Array, *layers: tuple[Float32Array, float]) -> Uint8Array:
    """Add (noise [H, W], strength in grey levels) layers to all channels of an image."""
    total = sum((noise * np.float32(strength) for noise, strength in layers), np.zeros((), np.float32))
    return np.asarray(np.clip(image + total[..., None], 0, 255), np.uint8)


def cells(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell: tuple[float, float],
    *,
    offset: float = 0.5,
    joint: float = 0.0,
) -> tuple[Float32Array, Float32Array]:
    """A bond of bricks, slabs, tiles or planks, none like its neighbour.

    Args:
        rng: source of randomness.
        shape: (height, width) of the result.
        cell: (height, width) of one brick, texels.
        offset: shift of every other row, share of a brick.
        joint: width of the gap between bricks, texels.

    Returns:
        float32 [height, width] a normal random number per brick; float32 [height, width] 1 on bricks, 0 in the joints.
    """
    y, x = np.arange(shape[0], dtype=np.float32), np.arange(shape[1], dtype=np.float32)
    row = (y / cell[0]).astype(np.int32)
    shift = rng.random(row[-1] + 1, np.float32) * 0.1 + (np.arange(row[-1] + 1) % 2) * offset
    along = x[None] / cell[1] + shift[row][:, None].astype(np.float32)
    column = along.astype(np.int32)
    tone = rng.standard_normal((row[-1] + 1, int(column.max()) + 1), np.float32)[row[:, None], column]
    edge_y = (y % cell[0]) - joint
    edge_x = (along - column) * np.float32(cell[1]) - joint
    solid = np.clip(np.minimum(edge_x, edge_y[:, None]) + 0.5, 0, 1) if joint else np.ones(shape, np.float32)
    return tone, np.asarray(solid, np.float32)


@dataclass
class Canvas:
    """A picture with coordinates in metres from its top-left corner, x to the right, y down."""

    image: Uint8Array  # [H, W, 3]
    scale: float  # texels per metre
    rng: np.random.Generator

    @property
    def width(self) -> float:
        """Metres."""
        return float(self.image.shape[1] / self.scale)

    @property
    def height(self) -> float:
        """Metres."""
        return float(self.image.shape[0] / self.scale)

    def polygon(self, corners: Sequence[tuple[float, float]] | Float64Array, colour: Colour) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.image, [self._fixed(corners)], colour, cv2.LINE_AA, _FRACTION_BITS)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def line(
        self, corners: Sequence[tuple[float, float]] | Float64Array, colour: Colour, *, width: float = 0.0
    ) -> None:
        """Draw a polyline `width` metres wide, at least one texel."""
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.image, [self._fixed(corners)], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)

    def ellipse(
        self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour, turn_deg: float = 0
    ) -> None:
        """Fill an ellipse."""
        row = np.array([[x, y, radius_x, radius_y, np.radians(turn_deg)]])
        self.ellipses(row[:, :2], row[:, 2:4], row[:, 4], np.array([colour]))

    def ellipses(self, centres: Float64Array, radii: Float64Array, turns: Float64Array, colours: Float64Array) -> None:
        """Fill ellipses, later over earlier: centres and radii [N, 2] metres, turns [N] radians, colours [N, 3]."""
        c, s = np.cos(turns), np.sin(turns)
        axes = np.stack([np.stack([c, s], axis=1), np.stack([-s, c], axis=1)], axis=1) * radii[:, :, None]
        outlines = self._fixed(_CIRCLE @ axes + centres[:, None])
        for outline, colour in zip(outlines, colours.tolist(), strict=True):
            cv2.fillConvexPoly(self.image, outline, colour, cv2.LINE_AA, _FRACTION_BITS)

    def text(self, words: str, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Write words so that they fill a rectangle."""
        big = 4.0
        (width, height), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, big, 9)
        stencil = np.zeros((height + below + 10, width + 10), np.uint8)
        cv2.putText(stencil, words, (5, height + 3), cv2.FONT_HERSHEY_DUPLEX, big, 255, 9, cv2.LINE_AA)
        left, top = round(x0 * self.scale), round(y0 * self.scale)
        right, bottom = round(x1 * self.scale), round(y1 * self.scale)
        target = self.image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if target.size:
            alpha = cv2.resize(stencil, target.shape[1::-1], interpolation=cv2.INTER_AREA)[..., None] / 255.0
            target[:] = (target * (1 - alpha) + np.array(colour) * alpha + 0.5).astype(np.uint8)

    def crack(self, x: float, y: float, length: float, colour: Colour) -> None:
        """A thin line that wanders and forks off nowhere."""
        steps = max(4, int(length / 0.08))
        turn = np.cumsum(self.rng.normal(0, 0.5, steps)) + self.rng.random() * 2 * np.pi
        walk = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0) * (length / steps)
        self.line(np.add(walk, (x, y)), colour, width=0.006)

    def spots(
        self,
        per_square_metre: float,
        smallest: float,
        largest: float,
        colour: Colour,
        spread: float,
        *,
        slim: float = 1.0,
    ) -> None:
        """Scatter ellipses of radii between two lengths in metres, `slim` times as wide as long, around a colour."""
        num = self.scatter(per_square_metre)
        centres = self.rng.random((num, 2)) * (self.width, self.height)
        radii = self.rng.uniform(smallest, largest, (num, 2)) * (1.0, slim)
        self.ellipses(centres, radii, self.rng.random(num) * np.pi, jitters(self.rng, colour, spread, num))

    def scatter(self, per_square_metre: float) -> int:
        """How many of something this picture shows."""
        return int(self.rng.poisson(per_square_metre * self.width * self.height))

    def anywhere(self) -> tuple[float, float]:
        """A random place, metres."""
        return float(self.rng.random() * self.width), float(self.rng.random() * self.height)

    def _fixed(
        self, corners: Sequence[tuple[float, float]] | Float64Array
    ) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        texels = np.asarray(corners, np.float64) * self.scale - 0.5  # metres start at the first texel's border
        return np.round(texels * (1 << _FRACTION_BITS)).astype(np.int32)


def jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """A colour near `colour`, brightness and hue both moved."""
    red, green, blue = jitters(rng, colour, amount, 1)[0].tolist()
    return red, green, blue


def jitters(rng: np.random.Generator, colour: Colour, amount: float, num: int) -> Float64Array:
    """`num` colours near `colour`, float64 [num, 3]."""
    moved = np.array(colour) + rng.normal(0, amount, (num, 1)) + rng.normal(0, amount / 3, (num, 3))
    return np.asarray(np.clip(moved, 0, 255), np.float64)


def word(rng: np.random.Generator, shortest: int = 3, longest: int = 8) -> str:
    """Random capital letters."""
    return "".join(_LETTERS[i] for i in rng.integers(0, len(_LETTERS), rng.integers(shortest, longest + 1)))
