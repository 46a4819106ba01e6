"""Settings of the evaluation of checkpoints."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """On what a checkpoint is judged, and how."""

    benchmarks: tuple[str, ...] = ()  # names or ids of benchmarks of the store; empty: all that it holds
    protocol: Literal["gim", "glue-factory", "strict"] = "strict"  # how poses are estimated: docs/evaluation.md
