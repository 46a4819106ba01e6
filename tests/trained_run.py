"""A run of training as its store holds it, without having been trained. Not a test; used by several."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gim import codecs, keys
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest, CheckpointScore, UsedWeights
from gim.training.config import KeepConfig, LoopConfig, ScheduleConfig, TrainingConfig
from gim.training.run_record import RunRecord, settings_of

RUN_ID = "tiny-0a1b2c3d"
NUM_STEPS, BATCH = 40, 16
MATCHER = "xfeat_lighterglue"


def config_of_run(**groups: Any) -> TrainingConfig:
    """The recipe of the run; `groups` are other fields of it."""
    fields = {
        "architecture": MATCHER,
        "model": {"layers": 3},
        "schedule": ScheduleConfig(pairs=NUM_STEPS * BATCH),
        "loop": LoopConfig(batch_size=BATCH, canonical_batch=BATCH),
        "keep": KeepConfig(),
    }
    return TrainingConfig(**{**fields, **groups})


def begin(store: Store, run_id: str = RUN_ID, *, dataset_id: str = "films-01234567", **groups: Any) -> None:
    """Store what the run is."""
    record = RunRecord(run_id, "tiny", dataset_id, "", settings_of(config_of_run(**groups)))
    store.put(keys.training_run(run_id), codecs.to_json(record))


def plant_checkpoint(
    store: Store,
    step: int,
    weights: Path | bytes,
    *,
    run_id: str = RUN_ID,
    matcher: str = MATCHER,
    licence: str = "CC-BY-4.0",
    settings: Mapping[str, Any] | None = None,
    others: Sequence[UsedWeights] = (),
    score: float | None = None,
) -> CheckpointManifest:
    """Store a checkpoint of weights alone."""
    data = weights if isinstance(weights, bytes) else weights.read_bytes()
    key = keys.checkpoint_weights(run_id, step, f"{matcher}-{run_id}.ckpt")
    store.put(key, data)
    file = CheckpointFile(key, hashlib.sha256(data).hexdigest(), len(data), "weights")
    manifest = CheckpointManifest(
        run_id, step, matcher, [file], "films-01234567", licence, dict(settings or {}), weights=tuple(others)
    )
    store.put(keys.checkpoint_manifest(run_id, step), codecs.to_json(manifest))
    if score is not None:
        store.put(keys.checkpoint_score(run_id, step), codecs.to_json(CheckpointScore(step, score)))
    return manifest
