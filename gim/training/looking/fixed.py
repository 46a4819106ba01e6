"""Which pairs a run is looked at by: always the same few, as they were filmed, not augmented. Imports no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gim.datasets.manifest import DatasetManifest, Split
from gim.ports.store import Store
from gim.records import BoolArray, Uint8Array
from gim.training.config import TrainingConfig
from gim.training.data.opening import open_parts
from gim.training.data.parts import Draw, Part
from gim.training.samples import Sample, SampleSkipped

_MAX_TRIES = 20  # pairs of a group that give no sample, before another pair is done without


def fixed_pairs(
    store: Store, dataset: DatasetManifest, config: TrainingConfig, posed_roots: Mapping[str, str]
) -> list[Sample]:
    """`keep.num_pictures` pairs that are held out or, where none are, trained on: the same in every run on the data.

    Their images are without padding.

    Args:
        store: holds the shards.
        dataset: of the run.
        config: of the run.
        posed_roots: where posed sets lie here, by name.

    Raises:
        CorruptObject, KeyMissing, Unavailable: of the groups that are read.
    """
    plain = replace(config, sample=replace(config.sample, augment="none", min_labels=1))
    splits: tuple[Split, Split] = ("held_out", "train")
    for split in splits:
        parts = [item.part for item in open_parts(store, dataset, plain, split, posed_roots=posed_roots)]
        # A warped frame shows less of what a network is for than a pair of views, but more than nothing.
        parts.sort(key=lambda part: part.name == "homography")
        found = [sample for part in parts[:1] for sample in _spread(part, config.keep.num_pictures)]
        if found:
            return [without_padding(sample) for sample in found]
    return []


def _spread(part: Part[Sample], num: int) -> Iterator[Sample]:
    """The middles of as many equal stretches of a part's pairs."""
    ends = np.cumsum(part.group_sizes)
    total = int(ends[-1]) if len(ends) else 0
    for place in range(min(num, total)):
        index = (2 * place + 1) * total // (2 * min(num, total))
        group = int(np.searchsorted(ends, index, side="right"))
        if sample := _sample_from(part, group, index - int(ends[group])):
            yield sample


def _sample_from(part: Part[Sample], group: int, first: int) -> Sample | None:
    """A pair of a group, or the next one that gives a sample; `first` may count from the end."""
    size = part.group_sizes[group]
    with part.open(group) as opened:
        for offset in range(min(size, _MAX_TRIES)):
            try:
                return opened.sample((first + offset) % size, Draw(0, 0))
            except SampleSkipped:
                continue
    return None


def without_padding(sample: Sample) -> Sample:
    """The sample with its images cut off to the right and below where nothing more is a photograph."""
    image0, valid0 = _cut(sample.image0, sample.valid0)
    image1, valid1 = _cut(sample.image1, sample.valid1)
    return replace(sample, image0=image0, valid0=valid0, image1=image1, valid1=valid1)


def _cut(image: Uint8Array, valid: BoolArray) -> tuple[Uint8Array, BoolArray]:
    rows, columns = (np.flatnonzero(valid.any(axis)) for axis in (1, 0))
    if not len(rows):
        return image, valid
    height, width = rows[-1] + 1, columns[-1] + 1
    return np.ascontiguousarray(image[:height, :width]), np.ascontiguousarray(valid[:height, :width])
