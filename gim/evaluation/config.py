"""Settings of the evaluation of checkpoints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """On what a checkpoint is judged."""

    benchmarks: tuple[str, ...] = ()  # names or ids of benchmarks of the store; empty: all that it holds
