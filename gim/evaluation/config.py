"""Settings of the evaluation of checkpoints."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """On what a checkpoint is judged, and how."""

    benchmarks: tuple[str, ...] = ()  # names or ids of benchmarks of the store; empty: all that it holds
    protocol: Literal["gim", "glue-factory", "strict"] = "strict"  # how poses are estimated: docs/evaluation.md
    shard_pairs: int = 512  # of a benchmark, the most that one evaluator takes at a time; at least 16
    shown_runs: int = 10  # that metrics tell of: those that were reported last
