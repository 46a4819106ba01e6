"""Painter of house fronts: windows in rows, shops and doors at street level, creepers."""

import numpy as np

from gim.synthetic.coverings import paint_brick, paint_plaster, pick, weather
from gim.synthetic.objects import ACCENTS, paint_bill
from gim.synthetic.textures import Canvas, Colour, jitter, word


def paint_facade(canvas: Canvas, colour: Colour | None) -> None:
    """A house front: brick or plaster, rows of windows, a shop or door at street level."""
    if colour is None and canvas.rng.random() < 0.45:
        paint_brick(canvas, None)
    else:
        paint_plaster(canvas, colour)
    street = 3.4
    bays = max(1, round(canvas.width / (1.9 + 0.6 * canvas.rng.random())))
    pitch, wide, tall = canvas.width / bays, 0.9 + 0.3 * canvas.rng.random(), 1.35 + 0.3 * canvas.rng.random()
    for sill in np.arange(canvas.height - street - 0.7, tall + 0.3, -2.9):
        for bay in range(bays):
            x = (bay + 0.5) * pitch + canvas.rng.normal(0, 0.04)
            _window(canvas, x - wide / 2, sill - tall, x + wide / 2, sill)
    if canvas.height > street + 0.6:
        ledge = canvas.height - street
        canvas.rectangle(0, ledge - 0.12, canvas.width, ledge, jitter(canvas.rng, (190, 184, 172), 14))
        canvas.rectangle(0, ledge, canvas.width, ledge + 0.05, (72, 68, 64))
    for bay in range(bays):
        _street_bay(canvas, bay * pitch + 0.15, (bay + 1) * pitch - 0.15)
    for _ in range(int(canvas.rng.integers(1, 3))):
        _ivy(canvas, canvas.rng.random() * canvas.width, 1.5 + 0.7 * canvas.height * canvas.rng.random())
    weather(canvas, 6, 3, 2.0)


def _ivy(canvas: Canvas, x: float, tall: float) -> None:
    """A creeper up a wall, thinner towards its tips."""
    rng = canvas.rng
    base = jitter(rng, (70, 104, 48), 12)
    for _ in range(int(rng.integers(3, 6))):
        reach = tall * (0.5 + 0.5 * rng.random())
        drift = np.cumsum(rng.normal(0, 0.12, int(reach / 0.12) + 2))
        step = np.repeat(np.arange(len(drift)), 14)
        spread = 0.28 * (1 - 0.8 * step / len(drift))
        across = x + drift[step] + rng.normal(0, 1, len(step)) * spread
        centres = np.stack([across, canvas.height - 0.12 * step + rng.normal(0, 0.1, len(step))], axis=1)
        colours = np.array(base) * rng.uniform(0.45, 1.2, (len(step), 1))
        radii = np.tile((0.055, 0.03), (len(step), 1))
        canvas.ellipses(centres, radii, rng.random(len(step)) * np.pi, colours)


def _street_bay(canvas: Canvas, x0: float, x1: float) -> None:
    rng, bottom = canvas.rng, canvas.height
    choice = rng.random()
    if choice < 0.4:
        sign = jitter(rng, pick(canvas, ACCENTS[:7]), 12)
        canvas.rectangle(x0, bottom - 3.1, x1, bottom - 2.5, sign)
        canvas.text(word(rng), x0 + 0.1, bottom - 3.0, x1 - 0.1, bottom - 2.6, jitter(rng, (240, 234, 214), 8))
        _window(canvas, x0, bottom - 2.45, x1, bottom - 0.55)
    elif choice < 0.62:
        canvas.rectangle(x0 + 0.2, bottom - 2.4, x0 + 1.3, bottom, (60, 52, 46))
        canvas.rectangle(x0 + 0.27, bottom - 2.33, x0 + 1.23, bottom, jitter(rng, pick(canvas, ACCENTS[:7]), 16))
        for y in (0.3, 1.25):
            canvas.rectangle(x0 + 0.4, bottom - y - 0.8, x0 + 1.1, bottom - y, jitter(rng, (70, 60, 54), 12))
        canvas.text(str(rng.integers(2, 98)), x0 + 1.4, bottom - 1.9, x0 + 1.65, bottom - 1.6, (30, 40, 90))
    elif choice < 0.85:
        for k in range(int(rng.integers(1, 4))):
            if x0 + 0.75 * (k + 1) < x1:
                paint_bill(canvas, x0 + 0.75 * k, bottom - 2.2 + rng.normal(0, 0.08), 0.65, 0.9)
    else:
        _window(canvas, x0 + 0.2, bottom - 2.3, x1 - 0.2, bottom - 1.0)


def _window(canvas: Canvas, x0: float, y0: float, x1: float, y1: float) -> None:
    """Frame, glass with something behind it, curtains, bars, a sill and its shadow."""
    rng = canvas.rng
    frame = jitter(rng, (222, 218, 208), 16)
    canvas.rectangle(x0 - 0.08, y0 - 0.08, x1 + 0.08, y1 + 0.06, frame)
    canvas.rectangle(x0, y0, x1, y1, jitter(rng, (52, 64, 76), 12))
    for _ in range(5):
        x, y = x0 + (x1 - x0) * rng.random(), y0 + (y1 - y0) * (0.3 + 0.7 * rng.random())
        a, b = 0.05 + 0.2 * rng.random(2)
        canvas.rectangle(max(x - a, x0), max(y - b, y0), min(x + a, x1), min(y + b, y1), jitter(rng, (92, 98, 104), 36))
    if rng.random() < 0.6:
        drop, cloth = y0 + (y1 - y0) * (0.25 + 0.6 * rng.random()), jitter(rng, (196, 186, 170), 28)
        side = (x1 - x0) * (0.12 + 0.25 * rng.random())
        canvas.polygon([(x0, y0), (x0 + side, y0), (x0 + 0.5 * side, drop), (x0, drop)], cloth)
        canvas.polygon([(x1, y0), (x1 - side, y0), (x1 - 0.5 * side, drop), (x1, drop)], cloth)
    middle, bar = (x0 + x1) / 2, y0 + (y1 - y0) * (0.3 + 0.4 * rng.random())
    canvas.line([(middle, y0), (middle, y1)], frame, width=0.05)
    canvas.line([(x0, bar), (x1, bar)], frame, width=0.04)
    canvas.rectangle(x0 - 0.12, y1 + 0.06, x1 + 0.12, y1 + 0.13, jitter(rng, (202, 196, 186), 12))
    canvas.rectangle(x0 - 0.1, y1 + 0.13, x1 + 0.1, y1 + 0.19, (74, 68, 62))
