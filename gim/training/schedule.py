"""The learning rate as a pure function of the pairs seen: nothing to save, nothing that depends on devices."""

import math

from gim.training.config import OptimiserConfig, ScheduleConfig


def learning_rate(pairs_done: int, optimiser: OptimiserConfig, schedule: ScheduleConfig) -> float:
    """The rate of the step that begins after so many pairs.

    Grows linearly from `warmup_from` of the rate over `warmup_pairs`, then falls to `min_lr` at the end of the run:
    linearly, along half a cosine, or, once `decay_from_pairs` are over, to a tenth in every `decay_pairs`.
    """
    if pairs_done < schedule.warmup_pairs:
        share = pairs_done / schedule.warmup_pairs
        return optimiser.lr * (schedule.warmup_from + (1 - schedule.warmup_from) * share)
    if schedule.decay == "constant":
        return optimiser.lr
    if schedule.decay == "exponential":
        past = max(0, pairs_done - schedule.decay_from_pairs)
        return max(optimiser.lr * 10 ** (-past / max(schedule.decay_pairs, 1)), optimiser.min_lr)
    done = (pairs_done - schedule.warmup_pairs) / max(schedule.pairs - schedule.warmup_pairs, 1)
    left = 1 - min(done, 1.0)
    if schedule.decay == "cosine":
        left = (1 + math.cos(math.pi * (1 - left))) / 2
    return optimiser.min_lr + (optimiser.lr - optimiser.min_lr) * left
