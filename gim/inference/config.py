"""How networks are run: device, precision, batches, memory. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Where and how networks run. Of these only the precision is part of what a label's id is made of."""

    device: str = "auto"  # auto = cuda, else mps, else cpu; or a torch device such as cuda:1
    precision: Precision = "float32"  # of convolutions and attention; positions and geometry stay float32
    compile: bool = False  # torch.compile: slow first calls, faster after; worth it for long runs of one image size
    batch_size: int = 8  # largest number of images or pairs of one size computed together
    max_memory_gib: float = 0.0  # of the device; 0 = no limit of our own. When it runs out, batches are halved
