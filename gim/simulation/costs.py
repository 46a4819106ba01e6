"""What a message of each stage costs: seconds of a pod, and units of what all pods share.

The requests are those that the stages make (gim/stages), and the worker for them: two looks for the mark of a purge.
Real services make as many (tests/e2e/test_simulated_services.py); `python -m bench simulation` compares bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gim.simulation.messages import SHARED, Floats, Ints
from gim.simulation.plan import EvaluatorPlan, MatcherPlan, Plan
from gim.simulation.videos import Segments, num_segments

_BUS_PER_MESSAGE = 3  # taken, its attempt noted, acknowledged
_INGEST_REQUESTS = 13  # is it known, marks of several kinds, its source and meta, put and fetched, its manifest
_LABEL_REQUESTS = 6  # manifest, are labels there, marks, labels, failure
_BELL_REQUESTS = 5  # marks, the matcher's id, is the last label there, failures
_PROPAGATE_REQUESTS = 6  # manifests, teachers, index, list of features
_LABELS_READ = 2  # times: to propagate, and to count what became of all pairs
_FEATURES_READ = 1.6  # times, seen of 720p: chains reach further than the segments that are held
_PAIRS_PER_SHARD = 64  # propagation.shard_pairs


@dataclass(frozen=True, slots=True)
class Costs:
    """Of messages, one per row."""

    work: Floats  # [n], seconds of a pod
    device: Floats  # [n], of these, on its GPU
    units: Floats  # [n, len(SHARED)]


def ingest_costs(plan: Plan, seconds: Floats, samples: Ints) -> Costs:
    """Of taking in videos: transfer, decoding, frames into the store.

    Args:
        plan: with all its times.
        seconds: float64 [n], lengths.
        samples: int64 [n], that are used; those of rejected shots are stored too.
    """
    stage = plan.downloader
    bits = seconds * plan.videos.bits_per_second
    work = _known(stage.video_seconds) + bits / stage.bits_per_second + seconds * _known(stage.decode_seconds)
    stored = seconds / plan.videos.interval_seconds
    units = _units(
        len(seconds),
        {
            "source videos": 1.0,
            "source bytes": bits / 8,
            "store bytes read": bits / 8,  # decoded from the store's copy
            "store bytes written": bits / 8 + stored * (plan.store.frame_bytes + plan.store.sample_bytes),
            "store requests": _INGEST_REQUESTS + stored,
            "bus messages": float(_BUS_PER_MESSAGE) + num_segments(plan.videos, samples),
        },
    )
    return Costs(work, np.zeros(len(seconds)), units)


def label_costs(plan: Plan, matcher: MatcherPlan, segments: Segments, video_samples: Ints) -> Costs:
    """Of labelling segments.

    Args:
        plan: with all its times.
        matcher: that labels.
        segments: to label.
        video_samples: int64 [videos], of the videos that `segments.video` counts.
    """
    frames, pairs = segments.frames, segments.pairs
    network = (
        frames * _known(matcher.frame_seconds)
        + pairs * _known(matcher.pair_seconds)
        + -(-pairs // matcher.batch_pairs) * matcher.batch_seconds
    )
    fits = pairs * _known(matcher.fit_seconds) / matcher.cores
    loads = frames * _known(matcher.load_seconds) / matcher.cores
    # A network's matches are fitted while it is at the next; without a GPU both want the same cores.
    compute = np.maximum(network, fits) if matcher.gpus else network / matcher.cores + fits
    manifests = video_samples[segments.video] * plan.store.sample_bytes
    units = _units(
        len(frames),
        {
            "store bytes read": frames * plan.store.frame_bytes + manifests,
            "store bytes written": segments.samples * matcher.features_bytes + pairs * plan.store.label_bytes,
            "store requests": _LABEL_REQUESTS + bool(matcher.features_bytes) + frames,
            "bus messages": _BUS_PER_MESSAGE + 1.0,
        },
    )
    device = network if matcher.gpus else np.zeros(len(frames))
    return Costs(_known(matcher.message_seconds) + loads + compute, device, units)


def propagate_costs(plan: Plan, samples: Ints, num_segments: Ints) -> Costs:
    """Of the labels' messages of whole videos, the last of which is the propagation.

    Args:
        plan: with all its times.
        samples: int64 [n], that are used.
        num_segments: int64 [n], of each video.
    """
    stage, store, matchers = plan.propagator, plan.store, plan.matchers.values()
    bells = num_segments * len(matchers)
    work = bells * _known(stage.bell_seconds) + samples * _known(stage.sample_seconds) / stage.cores
    pairs_per_sample = len(plan.videos.base_intervals)
    read_per_sample = store.frame_bytes + _FEATURES_READ * sum(each.features_bytes for each in matchers)
    read_per_sample += _LABELS_READ * store.label_bytes * pairs_per_sample * len(matchers)
    kept = samples * plan.videos.kept_share
    features = num_segments * sum(bool(each.features_bytes) for each in matchers)
    units = _units(
        len(samples),
        {
            "store bytes read": samples * (read_per_sample + store.sample_bytes),
            "store bytes written": kept * store.pair_bytes,
            "store requests": bells * (_BELL_REQUESTS + 1 + _LABELS_READ) + (_FEATURES_READ + 1) * features + samples
            + kept / _PAIRS_PER_SHARD + _PROPAGATE_REQUESTS,
            "bus messages": bells * _BUS_PER_MESSAGE + 1.0,
        },
    )  # fmt: skip
    return Costs(work, np.zeros(len(samples)), units)


def share_costs(evaluator: EvaluatorPlan) -> Costs:
    """Of the shares that a checkpoint's evaluation falls into."""
    first = np.arange(0, evaluator.pairs, evaluator.shard_pairs)
    pairs = np.minimum(evaluator.pairs - first, evaluator.shard_pairs)
    work = evaluator.share_seconds + pairs * _known(evaluator.pair_seconds)
    units = _units(len(pairs), {"bus messages": _BUS_PER_MESSAGE + 1.0, "store requests": 2.0 * pairs})
    return Costs(work, work if evaluator.gpus else np.zeros(len(work)), units)


def _units(number: int, given: Mapping[str, ArrayLike]) -> Floats:
    units = np.zeros((number, len(SHARED)))
    for name, column in given.items():
        units[:, SHARED.index(name)] = column
    return units


def _known(seconds: float | None) -> float:
    assert seconds is not None, "a plan is checked before it is simulated"
    return seconds
