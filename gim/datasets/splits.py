"""Which part of a dataset is held out of training: drawn by a hash of the name, whatever else there is."""

import hashlib

from gim.datasets.manifest import Split


def split_of(name: str, share: float, seed: int) -> Split:
    """Whether a video, or a scene of a posed set, is held out; says the same of it whatever others there are."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) / 2**64
    return "held_out" if drawn < share else "train"
