"""What a synthetic world is made of: flat textured surfaces under an even sky, and the builders of its parts.

Knows neither cameras nor pixels of a view. Worlds made of these parts are in `worlds`, their looks in `materials`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gim.records import Float64Array
from gim.synthetic.materials import Material, paint
from gim.synthetic.ripmap import Ripmap

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """A parallelogram `origin + u edge_u + v edge_v`, 0 <= u, v <= 1, metres; the texture's rows run along v."""

    origin: Vector
    edge_u: Vector
    edge_v: Vector
    material: Material

    @property
    def size(self) -> tuple[float, float]:
        """Lengths of the two edges, metres."""
        return float(np.linalg.norm(self.edge_u)), float(np.linalg.norm(self.edge_v))


@dataclass(frozen=True)
class Sky:
    """Colours (sRGB, 0 to 255) that the background takes from the horizon to the zenith; smooth, so no features."""

    horizon: Vector = (214.0, 222.0, 230.0)
    zenith: Vector = (118.0, 160.0, 214.0)
    haze_metres: float = 150.0  # distance over which a surface fades to 1/e of its contrast against the horizon


@dataclass(frozen=True)
class Scene:
    """Surfaces and sky, and how they were generated; a texture is painted when first seen."""

    kind: str
    seed: int
    surfaces: tuple[Surface, ...]
    sky: Sky = field(default_factory=Sky)
    texels_per_metre: float = 64.0
    parameters: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def geometry(self) -> Float64Array:
        """float64 [Q, 3, 3], rows (origin, edge_u, edge_v): all that the truth needs."""
        return geometry_of(self.surfaces)

    def texture(self, index: int) -> Ripmap:
        """The prefiltered picture of one surface, painted when first seen."""
        if index not in self._painted:
            surface = self.surfaces[index]
            self._painted[index] = Ripmap.of(paint(surface.material, surface.size, self.texels_per_metre))
        return self._painted[index]

    @cached_property
    def _painted(self) -> dict[int, Ripmap]:
        return {}


def geometry_of(surfaces: Sequence[Surface]) -> Float64Array:
    """Corner and edges of each surface, float64 [Q, 3, 3]."""
    rows = [(surface.origin, surface.edge_u, surface.edge_v) for surface in surfaces]
    return np.array(rows, np.float64).reshape(-1, 3, 3)


def wall(
    start: tuple[float, float], end: tuple[float, float], bottom: float, top: float, material: Material
) -> Surface:
    """An upright rectangle whose picture runs from `start` (left) to `end` (right), its first row on top."""
    edge_u = (end[0] - start[0], end[1] - start[1], 0.0)
    return Surface((*start, top), edge_u, (0.0, 0.0, bottom - top), material)


def floor(x: tuple[float, float], y: tuple[float, float], z: float, material: Material) -> Surface:
    """A level rectangle; its picture's rows run along -y, its columns along x."""
    return Surface((x[0], y[1], z), (x[1] - x[0], 0.0, 0.0), (0.0, y[0] - y[1], 0.0), material)


def box(
    centre: tuple[float, float],
    size: Vector,
    materials: Sequence[Material],
    *,
    bottom: float = 0.0,
    yaw_deg: float = 0.0,
) -> list[Surface]:
    """Four sides and the top of an upright box, of materials taken in turn (front, right, back, left, top).

    Args:
        centre: of the footprint, metres.
        size: length along x, along y (before turning), and height.
        materials: one or more, repeated as needed.
        bottom: height of the lower face, which is left out.
        yaw_deg: turn around the vertical.
    """
    angle = np.radians(yaw_deg)
    along = np.array([np.cos(angle), np.sin(angle)]) * size[0] / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * size[1] / 2
    middle = np.asarray(centre)
    corners = [middle - along - across, middle + along - across, middle + along + across, middle - along + across]
    ring = [(float(x), float(y)) for x, y in corners]
    top = bottom + size[2]
    sides = [wall(ring[i], ring[(i + 1) % 4], bottom, top, materials[i % len(materials)]) for i in range(4)]
    lid_u = (ring[2][0] - ring[3][0], ring[2][1] - ring[3][1], 0.0)
    lid_v = (ring[0][0] - ring[3][0], ring[0][1] - ring[3][1], 0.0)
    return [*sides, Surface((*ring[3], top), lid_u, lid_v, materials[4 % len(materials)])]
