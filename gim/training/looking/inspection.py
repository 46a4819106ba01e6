"""`gim train inspect`: the pairs of a step's micro-batches as one page, and as pictures in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim.geometry.draw import draw_correspondences
from gim.training.features.extractor import FrozenExtractor
from gim.training.features.loading import load_extractor
from gim.training.features.settings import KeypointSettings
from gim.training.looking.bad import BadBatch, bad_batches
from gim.training.looking.batches import BatchRequest, SeenBatch, batches_of_step
from gim.training.looking.jpegs import as_jpeg
from gim.training.looking.pages import data_urls, rendered
from gim.training.looking.supervision import Drawn, draw_features, draw_sample
from gim.training.models.base import Trainable
from gim.training.models.registry import build_trainable
from gim.whole_file import write_whole

_MAX_WIDTH = 1600  # pixels of a picture in the folder


@dataclass(frozen=True, slots=True)
class DrawnBatch:
    """One micro-batch on the page."""

    title: str
    name: str  # begins the names of its pictures
    part: str
    skipped: str  # in words; empty: none
    pairs: list[Drawn]
    bad: BadBatch | None = None


def inspect_step(request: BatchRequest, out: Path, *, folder: Path | None = None) -> list[DrawnBatch]:
    """Write the page of a step.

    Args:
        request: which run, step and lanes.
        out: the HTML file; replaced whole or not at all.
        folder: where each pair's picture is put too, as `lane-<lane>-<place>.jpg`.

    Raises:
        InvalidInput, CorruptObject, ConfigError, Unavailable: as `batches_of_step` and `load_extractor`.
        InvalidInput, DiskFull: as `gim.whole_file.write_whole`.
    """
    batches = batches_of_step(request)
    drawer = _Drawer(request)
    drawn = [
        DrawnBatch(
            f"Lane {batch.lane}",
            f"lane-{batch.lane:03d}",
            batch.part,
            _skipped_in_words(batch),
            drawer.draw(batch),
        )
        for batch in batches
    ]
    _write(request, drawn, out, folder)
    return drawn


def inspect_bad(request: BatchRequest, out: Path, *, folder: Path | None = None) -> list[DrawnBatch]:
    """Write the page of what was dumped of a step; arguments and errors as `inspect_step` and `bad_batches`."""
    drawn = [
        DrawnBatch(f"Dumped micro-batch {number}", f"dump-{number:03d}", batch.part, "", _drawn_bad(batch), batch)
        for number, batch in enumerate(bad_batches(request.store, request.record.run_id, request.step), 1)
    ]
    _write(request, drawn, out, folder)
    return drawn


class _Drawer:
    """Draws micro-batches as the run's architecture sees them."""

    def __init__(self, request: BatchRequest) -> None:
        config = request.config
        self._model: Trainable = build_trainable(config.architecture, config.model, request.resources.weights)
        self._extractor: FrozenExtractor | None = None
        if self._model.sees == "features":
            name, weights = self._model.frozen_extractor()
            features = config.features
            settings = KeypointSettings(
                max_keypoints=features.max_keypoints, at_labels=features.at_labels, label_share=features.label_share
            )
            self._extractor = load_extractor(name, weights, settings, request.resources)

    def draw(self, batch: SeenBatch) -> list[Drawn]:
        if self._extractor is None:
            return [draw_sample(sample) for sample in batch.samples]
        return draw_features(batch.samples, self._extractor.features(batch.samples), self._model)


def _drawn_bad(batch: BadBatch) -> list[Drawn]:
    nothing, none = np.empty((0, 4), np.float32), np.empty(0, np.bool_)
    return [
        Drawn(name, draw_correspondences(image0, image1, nothing, none), "as the network was given them")
        for name, (image0, image1) in zip(batch.names, batch.images, strict=False)
    ]


def _skipped_in_words(batch: SeenBatch) -> str:
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(batch.skipped.items()))


def _write(request: BatchRequest, batches: Sequence[DrawnBatch], out: Path, folder: Path | None) -> None:
    record = request.record
    pictures = [pair.picture for batch in batches for pair in batch.pairs]
    page = rendered(
        "inspect.html.j2",
        title=f"Run {record.run_id}, step {request.step}",
        record=record,
        step=request.step,
        is_bad=any(batch.bad for batch in batches),
        batches=batches,
        urls=iter(data_urls(pictures)),
        num_pairs=len(pictures),
    )
    write_whole(out, page)
    if folder is not None:
        _write_pictures(batches, folder)


def _write_pictures(batches: Sequence[DrawnBatch], folder: Path) -> None:
    for batch in batches:
        for place, pair in enumerate(batch.pairs):
            write_whole(folder / f"{batch.name}-{place:03d}.jpg", as_jpeg(pair.picture, max_width=_MAX_WIDTH))
