"""The folder of kept features, which several processes share. Imports no torch."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gim import codecs
from gim.errors import CorruptObject, Unavailable
from gim.training.config import FeatureConfig
from gim.training.features.kept_file import CannotKeepError, KeptFile, NoSample, write_kept
from gim.training.samples import FeatureSample
from gim.transfer.disk import exclusive
from gim.weights.config import WeightsConfig
from gim.weights.files import cache_folder

_GIB = 1024**3
_SUFFIX = ".features"


@dataclass(frozen=True, slots=True)
class KeptKey:
    """Everything that changes the features of a group of pairs."""

    part: str
    group: str  # what the pairs are made of, by its content
    num_pairs: int
    variant: int  # which of the fixed augmentations
    extractor: Mapping[str, Any]
    made_with: tuple[Any, ...]  # settings of the samples: size, augmentation

    @property
    def digest(self) -> str:
        """What stands for it in the name of a file."""
        return hashlib.sha256(codecs.to_json(self)).hexdigest()[:40]


@dataclass
class CacheCounts:
    """What became of features so far; of one process."""

    pairs_made: int = 0  # and kept
    pairs_not_kept: int = 0  # made anew for a single use, since the folder is full or cannot be written
    files_damaged: int = 0  # and made anew


class FeatureCache:
    """Keeps features of whole groups, up to a size."""

    def __init__(self, folder: Path, *, max_bytes: int, say: Callable[[str], None]) -> None:
        """Use a folder, which need not exist.

        Args:
            folder: shared by processes, runs and settings.
            max_bytes: of all that is in it; what would go beyond is not kept.
            say: told once, in a line, why features are not kept.
        """
        self.counts = CacheCounts()
        self._folder, self._max_bytes, self._say = folder, max_bytes, say
        self._guard = threading.Lock()
        self._has_said = False

    @classmethod
    def of(cls, config: FeatureConfig, say: Callable[[str], None]) -> "FeatureCache":
        """The folder of the settings, or else the user's, beside that of the weights."""
        default = cache_folder(WeightsConfig()).with_name("features")
        folder = Path(config.cache).expanduser() if config.cache else default
        return cls(folder, max_bytes=int(config.max_cache_gib * _GIB), say=say)

    def find(self, key: KeptKey) -> KeptFile | None:
        """The file of a key, if it is there and whole, as far as its index tells; a damaged one is counted."""
        try:
            return KeptFile.open(self._path(key), key.digest)
        except FileNotFoundError:
            return None
        except CorruptObject:
            self.discard(key)
            return None

    def discard(self, key: KeptKey) -> None:
        """Remove a damaged file, so that nobody takes it again."""
        with self._guard:
            self.counts.files_damaged += 1
        with suppress(OSError):
            self._path(key).unlink()

    def keep(
        self, key: KeptKey, num_bytes: int, make: Callable[[], Iterable[FeatureSample | NoSample]]
    ) -> KeptFile | None:
        """Make a group's features and keep them, unless another process just did.

        Args:
            key: of the group.
            num_bytes: the most that they can take.
            make: gives them, in order; not called where they cannot be kept.

        Returns:
            None where they are not kept: the folder is full, or cannot be written.
        """
        path = self._path(key)
        if self._size() + num_bytes > self._max_bytes:
            self._refuse(f"features.max_cache_gib {self._max_bytes / _GIB:g} is reached in {self._folder}")
            return None
        with ExitStack() as leaving:
            try:
                leaving.enter_context(exclusive(path))
            except Unavailable as error:
                self._refuse(str(error))
                return None
            if found := self.find(key):
                return found
            try:
                write_kept(path, key.digest, _counted(make(), self._count_made))
            except CannotKeepError as error:
                self._refuse(str(error))
                return None
            return KeptFile.open(path, key.digest)

    def count_not_kept(self) -> None:
        """Count a pair whose features were made for a single use."""
        with self._guard:
            self.counts.pairs_not_kept += 1

    def _path(self, key: KeptKey) -> Path:
        return self._folder / f"{key.part}-{key.digest}{_SUFFIX}"

    def _count_made(self) -> None:
        with self._guard:
            self.counts.pairs_made += 1

    def _size(self) -> int:
        """Bytes of all files; what goes meanwhile, or cannot be looked at, does not count."""
        total = 0
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    total += entry.stat().st_size
        return total

    def _refuse(self, why: str) -> None:
        with self._guard:
            is_first, self._has_said = not self._has_said, True
        if is_first:
            self._say(f"{why}: further features are not kept but made anew for every use, which is slow")


def _counted(
    items: Iterable[FeatureSample | NoSample], count: Callable[[], None]
) -> Iterator[FeatureSample | NoSample]:
    for item in items:
        yield item
        count()
