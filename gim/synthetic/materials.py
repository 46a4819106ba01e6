"""What surfaces look like: a material is a kind of painter and a seed; light and cast shadows are painted in.

Pictures have detail from metres to texels, as photographs do; repetition (bricks, windows, slabs) is varied from
piece to piece so that most places are unlike any other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from gim.records import Uint8Array
from gim.synthetic import coverings, objects
from gim.synthetic.facade import paint_facade
from gim.synthetic.textures import Canvas, Colour

Polygon = tuple[tuple[float, float], ...]  # metres from the picture's top-left corner

PAINTERS: dict[str, Callable[[Canvas, Colour | None], None]] = {
    "asphalt": coverings.paint_asphalt,
    "books": objects.paint_books,
    "brick": coverings.paint_brick,
    "concrete": coverings.paint_concrete,
    "crate": objects.paint_crate,
    "facade": paint_facade,
    "foliage": coverings.paint_foliage,
    "grass": coverings.paint_grass,
    "metal": objects.paint_metal,
    "paving": coverings.paint_paving,
    "plaster": coverings.paint_plaster,
    "poster": objects.paint_poster,
    "roof": coverings.paint_roof,
    "rug": objects.paint_rug,
    "wood": coverings.paint_wood,
}


@dataclass(frozen=True)
class Material:
    """A look, reproducible: the same material and size always give the same picture."""

    kind: str  # a key of PAINTERS
    seed: int
    colour: Colour | None = None  # main colour where the kind has one; None = by seed
    light: float = 1.0  # of the sun on this side, 1 = facing it
    contact: float = 0.0  # metres over which the lower edge darkens towards the ground it stands on
    shadows: tuple[Polygon, ...] = ()


def paint(material: Material, size: tuple[float, float], texels_per_metre: float) -> Uint8Array:
    """The picture of a surface.

    Args:
        material: its look.
        size: width and height, metres.
        texels_per_metre: resolution; detail finer than a texel is left out.

    Returns:
        uint8 sRGB [H, W, 3].
    """
    width, height = (max(2, round(side * texels_per_metre)) for side in size)
    rng = np.random.default_rng([material.seed, *material.kind.encode()])
    canvas = Canvas(np.zeros((height, width, 3), np.uint8), width / size[0], rng)
    PAINTERS[material.kind](canvas, material.colour)
    return _lit(canvas, material)


def _lit(canvas: Canvas, material: Material) -> Uint8Array:
    light = np.full(canvas.image.shape[:2], 255, np.uint8)
    shade = Canvas(light, canvas.scale, canvas.rng)
    for shadow in material.shadows:
        shade.polygon(shadow, (130, 130, 130))
    soft = cv2.GaussianBlur(light, (0, 0), max(0.5, 0.05 * canvas.scale)) if material.shadows else light
    factor = soft.astype(np.float32) * np.float32(material.light / 255)
    if material.contact:
        above = (canvas.image.shape[0] - np.arange(canvas.image.shape[0])) / canvas.scale
        factor *= (1 - 0.45 * np.exp(-above / material.contact)).astype(np.float32)[:, None]
    return np.clip(canvas.image * factor[..., None], 0, 255).astype(np.uint8)
