"""Painters of what walls and grounds are covered with: plaster, brick, asphalt, slabs, boards, leaves, grass, tiles.

A painter fills a canvas from the canvas's own generator; a colour, where given, replaces the one it would choose.
"""

import cv2
import numpy as np

from gim.synthetic.textures import Canvas, Colour, add_noise, cells, fractal, jitter, speckle

_PLASTERS: tuple[Colour, ...] = (
    (206, 192, 166), (190, 150, 118), (168, 176, 178), (214, 204, 190),
    (186, 128, 104), (170, 160, 128), (226, 210, 160),
)  # fmt: skip


def fill(canvas: Canvas, colour: Colour, *, blotches: float, grain: float, coarsest: float = 3.0) -> None:
    """An uneven coat: large blotches down to grain, in grey levels."""
    canvas.image[:] = np.round(colour)
    weather(canvas, blotches, grain, coarsest)


def weather(canvas: Canvas, blotches: float, grain: float, coarsest: float = 3.0) -> None:
    """Cover what is painted with cloudy noise and grain, in grey levels; `coarsest` in metres."""
    height, width = canvas.image.shape[:2]
    clouds = fractal(canvas.rng, height, width, coarsest=coarsest * canvas.scale)
    canvas.image[:] = add_noise(canvas.image, (clouds, blotches), (speckle(canvas.rng, height, width), grain))


def bonded(
    canvas: Canvas, colour: Colour, joint_colour: Colour, cell: tuple[float, float], joint: float, spread: float
) -> None:
    """Bricks or slabs of `cell` metres with varied tones."""
    size = (cell[0] * canvas.scale, cell[1] * canvas.scale)
    tone, solid = cells(canvas.rng, canvas.image.shape[:2], size, joint=max(1.0, joint * canvas.scale))
    hue = np.array([1.0, 0.8, 0.7], np.float32)
    pieces = np.array(colour, np.float32) + tone[..., None] * (hue * spread)
    mixed = pieces * solid[..., None] + np.array(joint_colour, np.float32) * (1 - solid[..., None])
    canvas.image[:] = np.clip(mixed, 0, 255).astype(np.uint8)


def pick(canvas: Canvas, colours: tuple[Colour, ...]) -> Colour:
    """One of some colours."""
    return colours[int(canvas.rng.integers(len(colours)))]


def dim(colour: Colour, share: float) -> Colour:
    """A share of a colour's brightness."""
    return colour[0] * share, colour[1] * share, colour[2] * share


def paint_plaster(canvas: Canvas, colour: Colour | None) -> None:
    """A rendered wall with stains, cracks and patches."""
    base = colour or pick(canvas, _PLASTERS)
    canvas.image[:] = np.round(base)
    for _ in range(canvas.scatter(0.25)):
        x, y = canvas.anywhere()
        corners = canvas.rng.normal((x, y), 0.25, (7, 2))
        canvas.polygon(corners, jitter(canvas.rng, base, 14))
    for _ in range(canvas.scatter(0.35)):
        x, y = canvas.anywhere()
        canvas.crack(x, y, 0.3 + canvas.rng.random(), dim(base, 0.6))
    canvas.spots(7.0, 0.02, 0.09, base, 20)
    weather(canvas, 9, 4)


def paint_brick(canvas: Canvas, colour: Colour | None) -> None:
    """Brickwork with soot and chipped bricks."""
    base = colour or jitter(canvas.rng, (150, 88, 68), 14)
    bonded(canvas, base, (176, 168, 154), (0.085, 0.25), 0.012, 17)
    canvas.spots(2.0, 0.02, 0.06, base, 34, slim=0.6)
    weather(canvas, 9, 6)


def paint_asphalt(canvas: Canvas, colour: Colour | None) -> None:
    """A road surface: grit, mended patches, tar lines, faded dashes."""
    base = colour or (98.0, 98.0, 100.0)
    canvas.image[:] = np.round(base)
    for _ in range(canvas.scatter(0.06)):
        x, y = canvas.anywhere()
        w, h = 0.4 + canvas.rng.random(2) * (1.8, 0.9)
        canvas.rectangle(x, y, x + w, y + h, jitter(canvas.rng, base, 12))
    for x in np.arange(0.6, canvas.width, 3.2):
        middle = canvas.height / 2
        canvas.rectangle(x, middle - 0.07, x + 1.5 + 0.2 * canvas.rng.random(), middle + 0.07, (205, 203, 196))
    for _ in range(canvas.scatter(0.3)):
        x, y = canvas.anywhere()
        canvas.crack(x, y, 0.5 + 2 * canvas.rng.random(), (56, 56, 58))
    canvas.spots(4.0, 0.008, 0.038, base, 38)
    weather(canvas, 8, 6)


def paint_paving(canvas: Canvas, colour: Colour | None) -> None:
    """Slabs with stains, gum, leaves and drain covers."""
    base = colour or jitter(canvas.rng, (158, 150, 140), 8)
    bonded(canvas, base, (104, 98, 90), (0.4, 0.6), 0.012, 10)
    for _ in range(canvas.scatter(0.05)):
        x, y = canvas.anywhere()
        canvas.rectangle(x, y, x + 0.5, y + 0.5, (84, 82, 80))
        for k in range(6):
            canvas.line([(x + 0.05, y + 0.07 + 0.07 * k), (x + 0.45, y + 0.07 + 0.07 * k)], (48, 47, 46), width=0.025)
    canvas.spots(5.0, 0.01, 0.035, base, 36)
    canvas.spots(0.8, 0.04, 0.06, (150, 96, 40), 26, slim=0.5)
    weather(canvas, 8, 7)


def paint_wood(canvas: Canvas, colour: Colour | None) -> None:
    """Boards along the picture's rows."""
    base = colour or jitter(canvas.rng, (150, 108, 70), 14)
    height, width = canvas.image.shape[:2]
    bonded(canvas, base, (52, 36, 24), (0.13, 1.4), 0.006, 13)
    grain = fractal(canvas.rng, height, max(2, width // 14), coarsest=0.2 * canvas.scale, roughness=0.4)
    stretched = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    canvas.image[:] = add_noise(canvas.image, (np.asarray(stretched, np.float32), 11))
    canvas.spots(2.5, 0.02, 0.035, dim(base, 0.5), 6, slim=0.6)
    weather(canvas, 6, 5)


def paint_foliage(canvas: Canvas, colour: Colour | None) -> None:
    """A hedge: leaf upon leaf, dark gaps between."""
    base = colour or jitter(canvas.rng, (74, 112, 46), 12)
    canvas.image[:] = (24, 36, 18)
    leaf = max(0.05, 1.5 / canvas.scale)  # a leaf much smaller than a texel only costs time
    for depth in np.linspace(0.45, 1.15, 4):
        canvas.spots(0.42 / leaf**2, 0.9 * leaf, 1.1 * leaf, dim(base, depth), 16 * depth, slim=0.45)
    weather(canvas, 10, 5)


def paint_grass(canvas: Canvas, colour: Colour | None) -> None:
    """A meadow with bare patches, seen from above."""
    base = colour or (104.0, 126.0, 66.0)
    fill(canvas, base, blotches=15, grain=11, coarsest=9.0)
    canvas.spots(0.35, 0.1, 0.6, (128, 116, 78), 18)
    canvas.spots(0.8, 0.05, 0.35, (70, 100, 48), 18)
    weather(canvas, 8, 8, 1.0)


def paint_concrete(canvas: Canvas, colour: Colour | None) -> None:
    """Slabs of cast concrete with holes and run-off."""
    base = colour or jitter(canvas.rng, (162, 160, 154), 8)
    bonded(canvas, base, (112, 110, 106), (1.1, 1.6), 0.015, 6)
    canvas.spots(5.0, 0.006, 0.026, (98, 96, 92), 14)
    weather(canvas, 11, 7)


def paint_roof(canvas: Canvas, colour: Colour | None) -> None:
    """A flat or tiled roof from above, with vents, hatches and pipes."""
    base = colour or jitter(
        canvas.rng, pick(canvas, ((146, 78, 58), (110, 106, 104), (142, 130, 112), (92, 98, 108))), 10
    )
    bonded(canvas, base, (60, 52, 48), (0.32, 0.26), 0.03, 15)
    for _ in range(2 + canvas.scatter(0.06)):
        x, y = canvas.anywhere()
        w, h = 0.3 + 0.8 * canvas.rng.random(2)
        canvas.rectangle(x, y, x + w + 0.12, y + h + 0.12, (46, 44, 44))
        canvas.rectangle(x, y, x + w, y + h, jitter(canvas.rng, (182, 184, 186), 24))
        canvas.rectangle(x + 0.1, y + 0.1, x + w - 0.1, y + h - 0.1, jitter(canvas.rng, (96, 112, 126), 20))
    weather(canvas, 9, 7)
