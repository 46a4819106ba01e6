"""Textures that are known between the pixels, so that a warp of one has no error of its own."""

from collections.abc import Callable

import numpy as np

Texture = Callable[[np.ndarray], np.ndarray]  # positions [N, 2] -> grey values [N]

WIDTH, HEIGHT = 160, 120


def waves(
    seed: int, *, num: int = 60, shortest_px: float = 6.0, longest_px: float = 40.0, contrast: float = 45.0
) -> Texture:
    """A sum of plane waves around grey 128, of the given standard deviation."""
    rng = np.random.default_rng(seed)
    length = np.exp(rng.uniform(np.log(shortest_px), np.log(longest_px), num))
    direction, phase = rng.uniform(0, 2 * np.pi, (2, num))
    frequency = 2 * np.pi / length * np.array([np.cos(direction), np.sin(direction)])
    amplitude = np.sqrt(length)
    amplitude *= contrast / np.sqrt((amplitude**2).sum() / 2)
    return lambda positions: 128 + np.cos(positions @ frequency + phase) @ amplitude


def picture(texture: Texture, H: np.ndarray | None = None, *, gain: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """The texture uint8 [HEIGHT, WIDTH] as a homography H moves it, with another exposure."""
    x, y = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    back = np.column_stack([x.ravel(), y.ravel(), np.ones(x.size)]) @ np.linalg.inv(np.eye(3) if H is None else H).T
    values = gain * (texture(back[:, :2] / back[:, 2:]) - 128) + 128 + offset
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).reshape(HEIGHT, WIDTH)


def about_the_middle(A: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """The homography that applies `A` [2, 2] about the picture's middle and then shifts."""
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    H = np.eye(3)
    H[:2, :2], H[:2, 2] = A, middle - A @ middle + shift
    return H


def grid(margin: int, step: float = 9.0) -> np.ndarray:
    """Positions [N, 2] between the pixels, `margin` away from the border."""
    x, y = np.meshgrid(np.arange(margin + 0.3, WIDTH - margin, step), np.arange(margin + 0.6, HEIGHT - margin, step))
    return np.column_stack([x.ravel(), y.ravel()])


def moved(H: np.ndarray, points0: np.ndarray) -> np.ndarray:
    back = np.column_stack([points0, np.ones(len(points0))]) @ H.T
    return back[:, :2] / back[:, 2:]
