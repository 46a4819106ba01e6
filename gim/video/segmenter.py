"""The Segmenter port: pixels of things that move by themselves or are infinitely far (people, sky, cars)."""

from typing import Protocol

from gim.records import Uint8Array


class Segmenter(Protocol):
    """A per-frame mask of what must not be matched."""

    name: str

    def mask(self, image: Uint8Array) -> Uint8Array:
        """uint8 [H, W] of an RGB image [H, W, 3]: 255 = usable, 0 = ignore."""
