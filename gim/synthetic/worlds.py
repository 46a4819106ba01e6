"""Whole scenes from a seed: a street to walk along, a room to look around in, a town to fly over."""

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np

from gim.errors import InvalidInput
from gim.records import Float64Array
from gim.synthetic.materials import Material, Polygon
from gim.synthetic.scene import Scene, Sky, Surface, box, floor, wall

_SUN = np.array([-0.45, 0.55])  # metres that a shadow runs per metre of height
_LIT, _SIDE, _SHADED = 1.0, 0.86, 0.7  # light on faces towards, beside and away from the sun


def street(seed: int, *, length: float = 60.0, texels_per_metre: float = 96.0) -> Scene:
    """A street along +x between house fronts, with kerbs, vans, hedges, kiosks and lamps; sky at its end."""
    rng = np.random.default_rng([seed, 1])
    upright: list[Surface] = []
    for side in (-1.0, 1.0):
        upright += _row_of_houses(rng, side, length)
    upright += wall_across(rng, length + 6.0)
    footprints: list[tuple[Float64Array, float]] = []
    for side in (-1.0, 1.0):
        x = 3.0 + 2.0 * rng.random()
        while x < length - 3.0:
            things, footprint = _street_thing(rng, x, side)
            upright += things
            footprints.append(footprint)
            x += 2.6 + 3.0 * rng.random()
    ground = _street_ground(rng, length, [_shadow(corners, height) for corners, height in footprints])
    return Scene("street", seed, (*ground, *upright), Sky(), texels_per_metre, {"length": length})


def wall_across(rng: np.random.Generator, x: float) -> list[Surface]:
    """The house that closes the street, with sky on both sides of its gable."""
    return box((x + 4.0, 0.0), (8.0, 9.0, 7.0), _house(rng, 0.0))


def _row_of_houses(rng: np.random.Generator, side: float, length: float) -> list[Surface]:
    surfaces, x = [], -6.0
    while x < length:
        width, height = 6.0 + 5.0 * rng.random(), 5.5 + 6.0 * rng.random()
        setback = 6.2 + 1.4 * rng.random()
        if rng.random() < 0.9:
            centre = (x + width / 2, side * (setback + 3.0))
            surfaces += [
                face for face in box(centre, (width, 6.0, height), _house(rng, side)) if _faces_street(face, side)
            ]
        x += width + (1.5 if rng.random() < 0.25 else 0.0)
    return surfaces


def _faces_street(face: Surface, side: float) -> bool:
    """All faces but a house's back, which no camera in the street can see."""
    return not (face.edge_v[2] < 0 and abs(face.edge_u[0]) > 1e-6 and face.edge_u[0] * side < 0)


def _house(rng: np.random.Generator, side: float) -> list[Material]:
    seeds = rng.integers(0, 2**31, 5)
    front = _LIT if side < 0 else _SHADED + 0.08
    return [
        Material("facade", int(seeds[0]), light=front, contact=0.5),
        Material("brick", int(seeds[1]), light=_SIDE, contact=0.5),
        Material("facade", int(seeds[2]), light=front, contact=0.5),
        Material("facade", int(seeds[3]), light=_SIDE, contact=0.5),
        Material("roof", int(seeds[4])),
    ]


def _street_ground(rng: np.random.Generator, length: float, shadows: list[Float64Array]) -> list[Surface]:
    """Road, pavements a kerb higher, in pieces of 12 m so that a texture stays small."""
    surfaces = []
    for x0 in np.arange(-6.0, length + 6.0, 12.0):
        span = (float(x0), float(x0) + 12.0)
        for y, z, kind in (((-3.0, 3.0), 0.0, "asphalt"), ((3.0, 8.5), 0.12, "paving"), ((-8.5, -3.0), 0.12, "paving")):
            material = Material(kind, int(rng.integers(2**31)), light=0.97, shadows=_fallen(shadows, span, y))
            surfaces.append(floor(span, y, z, material))
        for y_kerb in (-3.0, 3.0):
            kerb = Material("concrete", int(rng.integers(2**31)), light=0.85)
            surfaces.append(wall((span[0], y_kerb), (span[1], y_kerb), 0.0, 0.12, kerb))
    return surfaces


def _shadow(footprint: Float64Array, height: float) -> Float64Array:
    """Corners, in world (x, y), of the shadow of an upright prism: the hull of its footprint and its moved top."""
    corners = np.vstack([footprint, footprint + _SUN * height]).astype(np.float32)
    return np.asarray(cv2.convexHull(corners)[:, 0], np.float64)


def _fallen(shadows: Iterable[Float64Array], x: tuple[float, float], y: tuple[float, float]) -> tuple[Polygon, ...]:
    """The shadows that touch a level rectangle, in metres from its picture's top-left corner (see `scene.floor`)."""
    found = []
    for shadow in shadows:
        low, high = shadow.min(axis=0), shadow.max(axis=0)
        if high[0] > x[0] and low[0] < x[1] and high[1] > y[0] and low[1] < y[1]:
            found.append(tuple((float(px - x[0]), float(y[1] - py)) for px, py in shadow))
    return tuple(found)


def _footprint(centre: tuple[float, float], size: tuple[float, float], yaw_deg: float = 0.0) -> Float64Array:
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size) / 2
    return np.asarray(corners @ np.array([[c, s], [-s, c]]) + centre, np.float64)


def _faces(rng: np.random.Generator, *kinds: str) -> list[Material]:
    lights = (_LIT, _SIDE, _SHADED, _SIDE, _LIT)
    kinds = kinds * 5
    return [
        Material(kinds[i], int(rng.integers(2**31)), light=lights[i], contact=0.2 if i < 4 else 0.0) for i in range(5)
    ]


def _street_thing(rng: np.random.Generator, x: float, side: float) -> tuple[list[Surface], tuple[Float64Array, float]]:
    """One thing at the kerb, and its footprint and height for the shadow."""
    choice, y, bottom = rng.random(), side * (3.5 + 0.5 * rng.random()), 0.12
    yaw = float(rng.normal(0, 4))
    if choice < 0.25:  # a van in the road, beside the kerb
        centre, size, bottom = (x, side * 2.0), (3.6, 1.7, 1.9), 0.25
        kinds: tuple[str, ...] = ("metal",)
    elif choice < 0.45:
        centre, size, kinds = (x, y), (2.2 + rng.random(), 0.7, 0.8 + 0.5 * rng.random()), ("foliage",)
    elif choice < 0.65:
        centre, size, kinds = (x, y), (0.9, 0.9, 2.3), ("poster",)
        yaw = float(rng.uniform(-40, 40))
    elif choice < 0.85:
        centre, size, kinds = (x, y), (0.8, 0.8, 0.7 + 0.5 * rng.random()), ("crate",)
        yaw = float(rng.uniform(-40, 40))
    else:
        centre, size, kinds = (x, y), (1.6, 0.5, 1.0), ("books",)  # a stall
    surfaces = box(centre, size, _faces(rng, *kinds), bottom=bottom, yaw_deg=yaw)
    return surfaces, (_footprint(centre, size[:2], yaw), size[2])


def room(seed: int, *, texels_per_metre: float = 128.0) -> Scene:
    """A furnished room, 8 m x 6 m x 2.8 m around the origin: shelves, posters, a rug, tables, crates, a pillar."""
    rng = np.random.default_rng([seed, 2])

    def material(kind: str, light: float = 0.9, **more: Any) -> Material:
        return Material(kind, int(rng.integers(2**31)), light=light, **more)

    corners = [(-4.0, 3.0), (4.0, 3.0), (4.0, -3.0), (-4.0, -3.0)]
    looks = [
        material("plaster", contact=0.4),
        material("brick", 0.85, contact=0.4),
        material("plaster", 0.8, contact=0.4),
        material("wood", 0.8),
    ]
    surfaces = [wall(corners[i], corners[(i + 1) % 4], 0.0, 2.8, looks[i]) for i in range(4)]
    surfaces += [
        floor((-4.0, 4.0), (-3.0, 3.0), 0.0, material("wood")),
        floor((-4.0, 4.0), (-3.0, 3.0), 2.8, material("concrete", 0.95)),
    ]
    surfaces.append(floor((-1.6, 1.6), (-1.1, 1.1), 0.01, material("rug")))
    hung = (
        (-3.2, -1.9, 2.99, "poster"),
        (-0.6, 1.5, 2.99, "poster"),
        (-0.2, -2.6, -2.99, "poster"),
        (3.4, 1.2, -2.99, "poster"),
    )
    for x0, x1, y, kind in hung:
        surfaces.append(wall((x0, y), (x1, y), 0.9, 2.3, material(kind)))
    surfaces.append(wall((3.99, 1.6), (3.99, -0.2), 0.8, 2.2, material("poster")))
    for x, y, yaw in ((2.6, 2.7, 0.0), (-3.7, 0.6, 90.0), (-3.7, -1.2, 90.0), (3.6, -1.9, 90.0)):
        surfaces += box(
            (x, y),
            (1.5, 0.4, 1.6 + 0.5 * rng.random()),
            [material("books", 0.95) for _ in range(4)] + [material("wood")],
            yaw_deg=yaw,
        )
    for x, y in ((-1.9, 1.9), (1.9, 0.9), (0.3, -1.9), (-2.5, -2.1)):
        surfaces += box(
            (x, y),
            (0.6, 0.6, 0.4 + 0.5 * rng.random()),
            [material("crate") for _ in range(5)],
            yaw_deg=float(rng.uniform(0, 90)),
        )
    surfaces += box((0.9, 1.6), (0.35, 0.35, 2.8), [material("brick", 0.9)] * 4 + [material("wood")])
    surfaces += _table(material, (0.2, 0.2))
    return Scene("room", seed, tuple(surfaces), Sky(), texels_per_metre)


def _table(material: Callable[..., Material], centre: tuple[float, float]) -> list[Surface]:
    x, y = centre
    surfaces = box(centre, (1.3, 0.8, 0.05), [material("wood")] * 4 + [material("wood", 1.0)], bottom=0.7, yaw_deg=20.0)
    for dx, dy in ((-0.4, -0.2), (0.4, -0.2), (0.4, 0.2), (-0.4, 0.2)):
        surfaces += box((x + dx, y + dy), (0.06, 0.06, 0.7), [material("wood", 0.7)], yaw_deg=20.0)
    surfaces += box(
        (x - 0.2, y), (0.3, 0.22, 0.25), [material("books")] * 4 + [material("rug")], bottom=0.75, yaw_deg=50.0
    )
    surfaces += box((x + 0.25, y + 0.1), (0.2, 0.2, 0.3), [material("poster")] * 5, bottom=0.75, yaw_deg=-15.0)
    return surfaces


def terrain(seed: int, *, extent: float = 60.0, texels_per_metre: float = 24.0) -> Scene:
    """A town around the origin for a drone: fields, roads, houses of all heights, hedges and their shadows."""
    rng = np.random.default_rng([seed, 3])
    half, block = extent / 2, 12.0
    surfaces: list[Surface] = []
    shadows: list[Float64Array] = []
    starts = np.arange(-half, half - 1e-6, block)
    for x0 in starts:
        for y0 in starts:
            for _ in range(int(rng.integers(2, 5))):
                centre = (float(x0 + 3.4 + 7.0 * rng.random()), float(y0 + 3.4 + 7.0 * rng.random()))
                house = rng.random() < 0.6
                wide, deep = (2.5 + 3.0 * rng.random(2)) if house else (1.0 + 2.0 * rng.random(2))
                tall = float(2.0 + 6.0 * rng.random() ** 2 if house else 0.8 + 1.2 * rng.random())
                yaw = float(rng.choice([0.0, 90.0]) + rng.normal(0, 8))
                kinds = ("facade", "brick", "facade", "plaster", "roof") if house else ("foliage",)
                size = (float(wide), float(deep), tall)
                surfaces += box(centre, size, _faces(rng, *kinds), yaw_deg=yaw)
                shadows.append(_shadow(_footprint(centre, size[:2], yaw), tall))
    ground = []
    for x0 in starts:
        for y0 in starts:
            for x, y, kind in (
                ((x0, x0 + 2.0), (y0, y0 + block), "asphalt"),
                ((x0 + 2.0, x0 + block), (y0, y0 + 2.0), "asphalt"),
                ((x0 + 2.0, x0 + block), (y0 + 2.0, y0 + block), "grass"),
            ):
                span_x, span_y = (float(x[0]), float(x[1])), (float(y[0]), float(y[1]))
                ground.append(
                    floor(
                        span_x,
                        span_y,
                        0.0,
                        Material(kind, int(rng.integers(2**31)), shadows=_fallen(shadows, span_x, span_y)),
                    )
                )
    return Scene("terrain", seed, (*ground, *surfaces), Sky(), texels_per_metre, {"extent": extent})


WORLDS: dict[str, Callable[..., Scene]] = {"street": street, "room": room, "terrain": terrain}


def generate(kind: str, seed: int, **parameters: Any) -> Scene:
    """The scene of a given kind, seed and parameters.

    Raises:
        InvalidInput: no such kind.
    """
    if kind not in WORLDS:
        raise InvalidInput(f"no synthetic world {kind!r}: there are {', '.join(sorted(WORLDS))}")
    return WORLDS[kind](seed, **parameters)
