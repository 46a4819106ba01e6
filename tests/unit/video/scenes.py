"""Made-up films with a known truth, and small views of the real ones."""

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from gim.records import Uint8Array

SIZE = (320, 180)  # width, height


def make_world(seed: int, width: int = 1200, height: int = 500) -> Uint8Array:
    """A wide textured picture: soft clouds, hard boxes, and grain."""
    rng = np.random.default_rng(seed)
    world = np.full((height, width), 110.0)
    for scale, contrast in ((96, 40), (32, 20), (8, 10)):
        coarse = rng.normal(0, 1, (height // scale + 2, width // scale + 2))
        world += contrast * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(140):
        x, y = rng.integers(0, width - 40), rng.integers(0, height - 30)
        world[y : y + rng.integers(6, 30), x : x + rng.integers(6, 40)] = rng.integers(20, 235)
    return np.clip(world + rng.normal(0, 1.5, world.shape), 0, 255).astype(np.uint8)


def pan(world: Uint8Array, number: int, *, step_px: float = 3.0, start: int = 20) -> list[Uint8Array]:
    """A camera that travels to the right over the world, `step_px` a frame."""
    width, height = SIZE
    frames = []
    for i in range(number):
        shift = np.array([[1, 0, -(start + i * step_px)], [0, 1, -40 - 2 * np.sin(i / 5)]], np.float32)
        frames.append(np.asarray(cv2.warpAffine(world, shift, (width, height), borderMode=cv2.BORDER_REFLECT)))
    return [np.asarray(frame, np.uint8) for frame in frames]


def stand(world: Uint8Array, number: int, *, seed: int = 0, jitter_px: float = 0.2) -> list[Uint8Array]:
    """A camera on a tripod: fresh noise and a slight tremble in every frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(number):
        x, y = rng.normal(0, jitter_px, 2)
        shift = np.array([[1, 0, -20 - x], [0, 1, -40 - y]], np.float32)
        frame = cv2.warpAffine(world, shift, SIZE).astype(np.float32) + rng.normal(0, 1.5, SIZE[::-1])
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return frames


def cross(frames: list[Uint8Array], object_picture: Uint8Array, *, first: int, step_px: int) -> list[Uint8Array]:
    """Let an object pass from left to right, beginning at a frame."""
    height, width = object_picture.shape
    crossed = []
    for i, frame in enumerate(frames):
        left = -width + (i - first) * step_px
        picture = frame.copy()
        begin, end = max(left, 0), min(left + width, frame.shape[1])
        if i >= first and begin < end:
            picture[60 : 60 + height, begin:end] = object_picture[:, begin - left : end - left]
        crossed.append(picture)
    return crossed


def dissolve(before: list[Uint8Array], after: list[Uint8Array], number: int) -> list[Uint8Array]:
    """Join two shots by a dissolve of so many frames."""
    mixed = []
    for i in range(number):
        share = (i + 1) / (number + 1)
        mixed.append(((1 - share) * before[i - number] + share * after[i]).round().astype(np.uint8))
    return before[:-number] + mixed + after[number:]


def fade(frames: list[Uint8Array], number: int, *, colour: float = 0.0) -> list[Uint8Array]:
    """Let the last frames of a shot turn to one colour."""
    faded = []
    for i in range(number):
        share = (i + 1) / number
        faded.append(((1 - share) * frames[i - number] + share * colour).round().astype(np.uint8))
    return frames[:-number] + faded


def tiny(grey: Uint8Array) -> Uint8Array:
    """A frame as the decoder hands it to `VideoAnalyser.see_frame`: every n-th pixel."""
    stride = max(1, round(grey.shape[1] / 160))
    return np.ascontiguousarray(grey[stride // 2 :: stride, stride // 2 :: stride])


def grey_frames(path: Path, *, every: int = 1, number: int | None = None) -> Iterator[tuple[int, float, Uint8Array]]:
    """Decode the first `number` frames of a film; frame index, seconds and luma of every n-th."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            if number is not None and index >= number:
                return
            if index % every == 0:
                luma = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)
                yield index, float(frame.time or 0.0), np.ascontiguousarray(luma[: frame.height, : frame.width])


def sample_step(path: Path) -> int:
    """Frames between samples 0.2 seconds apart."""
    with av.open(str(path)) as container:
        return max(1, round(0.2 * float(container.streams.video[0].average_rate or 5)))
