"""What protocols of every kind have in common: how reports name them, and how PoseLib is told how long to look."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Revisioned:
    """Something whose numbers are not to be compared with those of another name or revision."""

    name: str
    revision: int

    @property
    def id(self) -> str:
        """Name and revision, as reports and result files have it."""
        return f"{self.name}-{self.revision}"


class Sampling(Protocol):
    """What a protocol says of the samples that are drawn."""

    @property
    def success_probability(self) -> float:
        """Of having drawn one without an outlier, at which the solver stops."""

    @property
    def max_iterations(self) -> int:
        """Samples drawn at most."""

    @property
    def is_fixed_length(self) -> bool:
        """Whether exactly so many are drawn, whatever the share of inliers."""


def poselib_options(sampling: Sampling, seed: int, **thresholds: float) -> dict[str, Any]:
    """The options of a solver of PoseLib.

    Args:
        sampling: the protocol.
        seed: of the samples.
        thresholds: by the name that the solver has for it, pixels.
    """
    options: dict[str, Any] = {
        **thresholds,
        "success_prob": sampling.success_probability,
        "max_iterations": sampling.max_iterations,
        "seed": seed,
    }
    if sampling.is_fixed_length:
        options["min_iterations"] = sampling.max_iterations
    return options
