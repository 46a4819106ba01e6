"""The images of a benchmark, pair by pair, as matchers are given them: of a folder, or of a Store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gim import codecs, keys
from gim.benchmarks.image_sizes import image_size
from gim.benchmarks.stored import StoredBenchmark
from gim.errors import CorruptObject, InvalidInput
from gim.evaluation.image_size import ResizedImage, SizeRule, resized, size_scale


class Views(Protocol):
    """Pairs of images that are to be matched."""

    @property
    def id(self) -> str:
        """Names all that decides on correspondences but the matcher: the pairs, their images, their size."""

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """The names of the images of each pair."""

    def image(self, name: str) -> ResizedImage:
        """An image at the size it is matched at.

        Raises:
            InvalidInput: it cannot be read.
        """

    def scale(self, name: str) -> tuple[float, float]:
        """What width and height are multiplied by to have that size.

        Raises:
            InvalidInput: the image cannot be read.
        """


@dataclass(frozen=True, slots=True)
class FolderViews:
    """Images of a folder. Their id knows an image by its name and its number of bytes: a folder is not read for it."""

    id: str
    root: Path
    pairs: Sequence[tuple[str, str]]
    rule: SizeRule

    def image(self, name: str) -> ResizedImage:
        path = self.root / name
        try:
            return resized(codecs.decode_image(path.read_bytes()), self.rule)
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
        except CorruptObject as error:
            raise InvalidInput(f"{path}: {error}") from error

    def scale(self, name: str) -> tuple[float, float]:
        return size_scale(*image_size(self.root / name, self.id), self.rule)


@dataclass(frozen=True, slots=True)
class StoredViews:
    """Images of a benchmark that was put into a Store."""

    id: str
    pairs: Sequence[tuple[str, str]]
    benchmark: StoredBenchmark
    rule: SizeRule

    def image(self, name: str) -> ResizedImage:
        return resized(self.benchmark.image(name), self.rule)

    def scale(self, name: str) -> tuple[float, float]:
        height, width = self.benchmark.image(name).shape[:2]
        return size_scale(width, height, self.rule)


def folder_views(name: str, root: Path, pairs: Sequence[tuple[str, str]], rule: SizeRule) -> FolderViews:
    """Pairs of images of a folder.

    Args:
        name: of the benchmark; begins the id.
        root: the names of images are relative to it.
        pairs: names of images.
        rule: how images are resized.

    Raises:
        InvalidInput: an image is absent.
    """
    images = sorted({image for pair in pairs for image in pair})
    sizes = [_num_bytes(root / image) for image in images]
    return FolderViews(keys.config_id(name, "folder", pairs, images, sizes, rule), root, pairs, rule)


def stored_views(benchmark: StoredBenchmark, pairs: Sequence[tuple[str, str]], rule: SizeRule) -> StoredViews:
    """Pairs of images of a Store's benchmark."""
    manifest = benchmark.manifest
    return StoredViews(keys.config_id(manifest.name, manifest.benchmark_id, pairs, rule), pairs, benchmark, rule)


def _num_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
