"""A line of text above a picture, legible at any size of picture. Draws nothing else."""

import cv2
import numpy as np

from gim.records import Uint8Array

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE_PER_PX = 0.6 / 1000  # of the font scale per pixel of width: capitals of a 75th of the picture's width
_LEAST_SCALE = 0.45  # below, the letters of OpenCV 4's font run together
_GROUND = (24, 24, 24)
_INK = (236, 236, 236)


def add_caption(picture: Uint8Array, text: str) -> Uint8Array:
    """The picture below a band with a text, broken into lines at blanks where it is wider than the picture.

    Args:
        picture: uint8 RGB [H, W, 3].
        text: ASCII; nothing is added for an empty one.

    Returns:
        uint8 RGB [H + band, W, 3]; the rows below the band are the picture, unchanged.
    """
    width = picture.shape[1]
    scale = max(_LEAST_SCALE, width * _SCALE_PER_PX)
    thickness = max(1, round(scale))
    step = round(34 * scale)  # from one line of text to the next, pixels
    lines = _broken(text, width - 2 * step // 2, scale, thickness)
    if not lines:
        return picture
    band = np.full((step * len(lines) + step // 2, width, 3), _GROUND, np.uint8)
    for row, line in enumerate(lines, start=1):
        cv2.putText(band, line, (step // 2, row * step), _FONT, scale, _INK, thickness, cv2.LINE_AA)
    return np.vstack([band, picture])


def _broken(text: str, width: int, scale: float, thickness: int) -> list[str]:
    """The words of a text in lines no wider than `width`, as far as a single word is not."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and cv2.getTextSize(longer, _FONT, scale, thickness)[0][0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
