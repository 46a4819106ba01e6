"""Painters of the sides of things: containers, poster walls, crates, book shelves, rugs."""

import numpy as np

from gim.synthetic.coverings import dim, fill, paint_wood, pick, weather
from gim.synthetic.textures import Canvas, Colour, jitter, word

ACCENTS: tuple[Colour, ...] = (
    (178, 48, 42), (32, 84, 140), (214, 160, 40), (40, 110, 72),
    (90, 52, 110), (222, 118, 44), (38, 40, 46), (236, 232, 220),
)  # fmt: skip


def paint_metal(canvas: Canvas, colour: Colour | None) -> None:
    """A container's or van's side: ribs, lettering, rust."""
    base = colour or jitter(canvas.rng, pick(canvas, ACCENTS[:6]), 10)
    canvas.image[:] = np.round(base)
    for x in np.arange(0.12, canvas.width, 0.24):
        canvas.line([(x, 0), (x, canvas.height)], dim(base, 0.82), width=0.05)
    top = canvas.height * (0.2 + 0.3 * canvas.rng.random())
    canvas.text(
        word(canvas.rng), 0.15 * canvas.width, top, 0.8 * canvas.width, top + 0.3 * canvas.height, (238, 236, 230)
    )
    canvas.text(
        word(canvas.rng, 8, 14),
        0.2 * canvas.width,
        0.85 * canvas.height,
        0.6 * canvas.width,
        0.92 * canvas.height,
        (230, 226, 220),
    )
    canvas.spots(5.0, 0.01, 0.05, (112, 66, 40), 16)
    for _ in range(canvas.scatter(2.0)):
        x, y = canvas.anywhere()
        canvas.crack(x, y, 0.3, jitter(canvas.rng, (205, 205, 205), 20))
    weather(canvas, 8, 4)


def paint_poster(canvas: Canvas, colour: Colour | None) -> None:
    """Bills pasted over each other: blocks of colour, rings, headlines, small print."""
    canvas.image[:] = np.round(colour or (200, 196, 186))
    across, down = max(1, round(canvas.width / 0.7)), max(1, round(canvas.height / 0.95))
    for i in range(across):
        for j in range(down):
            x, y = (i + 0.05) * canvas.width / across, (j + 0.05) * canvas.height / down
            shift = canvas.rng.normal(0, 0.03, 2)
            paint_bill(canvas, x + shift[0], y + shift[1], 0.9 * canvas.width / across, 0.9 * canvas.height / down)
    weather(canvas, 6, 4, 1.0)


def paint_bill(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """One poster: a ground colour, shapes, a headline, small print."""
    rng = canvas.rng
    ground, ink = rng.choice(len(ACCENTS), 2, replace=False)
    canvas.rectangle(x, y, x + width, y + height, jitter(rng, ACCENTS[ground], 12))
    for _ in range(4):
        cx, cy = x + width * (0.15 + 0.7 * rng.random()), y + height * (0.35 + 0.35 * rng.random())
        radius = min(width, height) * (0.08 + 0.14 * rng.random())
        canvas.ellipse(
            cx,
            cy,
            radius,
            radius * (0.5 + 0.5 * rng.random()),
            jitter(rng, pick(canvas, ACCENTS), 16),
            180 * rng.random(),
        )
    canvas.text(word(rng), x + 0.08 * width, y + 0.06 * height, x + 0.92 * width, y + 0.26 * height, ACCENTS[ink])
    for line in range(3):
        top = y + height * (0.76 + 0.07 * line)
        canvas.text(
            word(rng, 8, 16),
            x + 0.1 * width,
            top,
            x + width * (0.6 + 0.3 * rng.random()),
            top + 0.05 * height,
            ACCENTS[ink],
        )


def paint_crate(canvas: Canvas, colour: Colour | None) -> None:
    """A wooden crate's side: boards, frame, nails, stencil."""
    paint_wood(canvas, colour or (172, 132, 86))
    w, h, rim = canvas.width, canvas.height, 0.1 * min(canvas.width, canvas.height)
    edge: Colour = jitter(canvas.rng, (142, 104, 64), 10)
    for x0, y0, x1, y1 in ((0, 0, w, rim), (0, h - rim, w, h), (0, 0, rim, h), (w - rim, 0, w, h)):
        canvas.rectangle(x0, y0, x1, y1, edge)
        canvas.line([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], (66, 46, 28), width=0.008)
    canvas.text(
        f"{word(canvas.rng, 2, 5)} {canvas.rng.integers(10, 99)}", 0.2 * w, 0.35 * h, 0.8 * w, 0.6 * h, (44, 34, 28)
    )
    weather(canvas, 6, 5, 1.0)


def paint_books(canvas: Canvas, colour: Colour | None) -> None:
    """Shelves full of books."""
    rng = canvas.rng
    canvas.image[:] = np.round(colour or (70, 50, 36))
    shelves = max(1, round(canvas.height / 0.36))
    for shelf in range(shelves):
        bottom = (shelf + 1) * canvas.height / shelves - 0.03
        x = 0.03
        while x < canvas.width - 0.05:
            thick, tall = 0.02 + 0.04 * rng.random(), 0.2 + 0.1 * rng.random()
            cover = jitter(rng, pick(canvas, ACCENTS), 20)
            canvas.rectangle(x, bottom - tall, x + thick, bottom, cover)
            for band in rng.random(2):
                canvas.line(
                    [(x, bottom - tall * band), (x + thick, bottom - tall * band)],
                    jitter(rng, (214, 196, 150), 24),
                    width=0.008,
                )
            x += thick + 0.004 + 0.08 * (rng.random() < 0.05)
    weather(canvas, 5, 4, 1.0)


def paint_rug(canvas: Canvas, colour: Colour | None) -> None:
    """A woven carpet: borders, diamonds, no two alike."""
    rng = canvas.rng
    fill(canvas, colour or (128, 44, 42), blotches=8, grain=9)
    for inset in (0.08, 0.16, 0.2):
        w, h = canvas.width - inset, canvas.height - inset
        canvas.line(
            [(inset, inset), (w, inset), (w, h), (inset, h), (inset, inset)],
            jitter(rng, (206, 178, 120), 20),
            width=0.025,
        )
    for x in np.arange(0.45, canvas.width - 0.3, 0.36):
        for y in np.arange(0.45, canvas.height - 0.3, 0.36):
            a, b = 0.06 + 0.1 * rng.random(2)
            canvas.polygon([(x - a, y), (x, y - b), (x + a, y), (x, y + b)], jitter(rng, pick(canvas, ACCENTS), 14))
            canvas.ellipse(x + rng.normal(0, 0.03), y, 0.03, 0.03, jitter(rng, (222, 206, 160), 20))
    weather(canvas, 4, 8)
