"""Runs in a store, written record by record. Not a test."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gim import codecs, keys
from gim.datasets.manifest import DatasetManifest, dataset_id_of
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest, CheckpointScore
from gim.training.config import TrainingConfig
from gim.training.journal import LogChunk, Point
from gim.training.looking.jpegs import as_jpeg
from gim.training.run_record import RunRecord, settings_of

RUN = "tiny-0123abcd"
DATASET = "films-00000000"


def put_run(
    store: Store, run_id: str = RUN, config: TrainingConfig | None = None, *, dataset_id: str = DATASET
) -> RunRecord:
    """What a run has stored when it begins."""
    config = config or TrainingConfig()
    record = RunRecord(run_id, config.recipe, dataset_id, "", settings_of(config))
    store.put(keys.training_run(run_id), codecs.to_json(record))
    return record


def put_dataset(store: Store, dataset: DatasetManifest) -> DatasetManifest:
    """The manifest under the id that is its own."""
    named = replace(dataset, dataset_id=dataset_id_of(dataset))
    store.put(keys.dataset_manifest(named.dataset_id), codecs.to_json(named))
    return named


def put_points(store: Store, points: Iterable[tuple[int, Mapping[str, float]]], run_id: str = RUN) -> None:
    """Points of curves as one checkpoint stores them."""
    chunk = LogChunk([Point(step, 16 * step, dict(values)) for step, values in points])
    store.put(keys.training_log(run_id, chunk.points[-1].step), codecs.to_json(chunk))


def put_checkpoint(store: Store, step: int, score: float | None = None, run_id: str = RUN) -> None:
    """A manifest, whose files nobody has, and its score."""
    weights = CheckpointFile(keys.checkpoint_weights(run_id, step, f"weights-{step}.ckpt"), "0" * 64, 2_500_000)
    manifest = CheckpointManifest(run_id, step, "xfeat_lighterglue", [weights], DATASET)
    store.put(keys.checkpoint_manifest(run_id, step), codecs.to_json(manifest))
    if score is not None:
        store.put(keys.checkpoint_score(run_id, step), codecs.to_json(CheckpointScore(step, score)))


def put_picture(store: Store, step: int, number: int, run_id: str = RUN) -> None:
    """A picture of one colour."""
    picture = np.full((20, 60, 3), min(255, step), np.uint8)
    store.put(keys.training_picture(run_id, step, number), as_jpeg(picture, max_width=100))


def put_dump(store: Store, step: int, batches: list[dict[str, Any]], run_id: str = RUN, rank: int = 0) -> None:
    """Micro-batches as `gim.training.hooks` dumps them."""
    buffer = io.BytesIO()
    torch.save(batches, buffer)
    store.put(keys.training_dump(run_id, step, rank), buffer.getvalue())
