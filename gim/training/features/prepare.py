"""Makes all features that a run will read before its first step."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from gim.training.features.part import FeaturePart

Progress = Callable[[int, int], None]  # pairs that are kept, and all of them; of this process


def prepare(
    parts: Sequence[FeaturePart],
    *,
    rank: int = 0,
    world_size: int = 1,
    threads: int = 1,
    report: Progress = lambda _done, _total: None,
) -> None:
    """Keep the features of every pair under every augmentation, as far as there is room.

    Each process does its own share; they meet nowhere, so wait for the others before reading.

    Args:
        parts: whose caches are filled.
        rank: of this process.
        world_size: processes that share the work.
        threads: that decode and augment while the extractor works.
        report: told after every batch of pairs; a pair counts once for each augmentation.

    Raises:
        CorruptObject, KeyMissing, Unavailable: of the parts' groups.
    """
    places = [(part, group) for part in parts for group in range(len(part.group_sizes))]
    work = [(part, group, variant) for part, group in places for variant in range(part.variants)]
    share = work[len(work) * rank // world_size : len(work) * (rank + 1) // world_size]
    progress = _Counter(sum(part.group_sizes[group] for part, group, _ in share), report)
    with ThreadPoolExecutor(threads, thread_name_prefix="features-decode") as decoders:
        for (part, group), units in groupby(share, key=lambda unit: unit[:2]):
            with part.open(group) as opened:
                for _, _, variant in units:
                    before = progress.done
                    opened.keep(variant, decoders, progress.add)
                    progress.add(before + part.group_sizes[group] - progress.done)  # all of it, where it was there


class _Counter:
    """Adds up what is done."""

    def __init__(self, total: int, report: Progress) -> None:
        self.done, self._total, self._report = 0, total, report

    def add(self, num_pairs: int) -> None:
        if num_pairs:
            self.done += num_pairs
            self._report(self.done, self._total)
