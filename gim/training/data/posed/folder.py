"""Any folder of posed pairs: `pairs.txt` (`gim.benchmarks.posed`) and a depth map for every image.

A set is one such folder, or a folder of them, one for each scene. The depth of `images/3.png` is `depth/images/3.png`
or `depth/3.png`, with any suffix of a depth map: `.h5`, `.npy`, `.png` of 16 bits, `.tif`, COLMAP's `.bin`.
"""

from pathlib import Path

import numpy as np

from gim.benchmarks.posed import read_posed_pairs
from gim.errors import CorruptObject, InvalidInput
from gim.records import Float64Array
from gim.training.data.posed.options import PosedOptions
from gim.training.data.posed.scene import SceneFiles, choose_pairs
from gim.training.data.posed.views import ViewFiles, read_posed_pair
from gim.training.samples import Sample

_PAIRS = "pairs.txt"
_SUFFIXES = (".h5", ".npy", ".png", ".tif", ".tiff", ".geometric.bin", ".photometric.bin", ".bin")


def list_folder(root: Path, _: PosedOptions) -> list[SceneFiles]:
    """The scenes of a folder, by name; its own name, where it is one scene.

    Raises:
        InvalidInput: there are no pairs.
    """
    if (root / _PAIRS).is_file():
        return [SceneFiles(root.resolve().name, root, (root / _PAIRS,))]
    found = sorted(root.glob(f"*/{_PAIRS}"))
    if not found:
        raise InvalidInput(f"{root}: neither {_PAIRS} nor folders with one")
    return [SceneFiles(path.parent.name, path.parent, (path,)) for path in found]


class FolderScene:
    """One folder of pairs."""

    def __init__(self, files: SceneFiles, options: PosedOptions) -> None:
        pairs = read_posed_pairs(files.index[0])
        overlaps = np.array([np.nan if pair.overlap is None else pair.overlap for pair in pairs], np.float64)
        self._pairs = [pairs[place] for place in choose_pairs(overlaps, options, files.name)]
        self._folder = files.folder
        self._options = options
        if self._pairs:
            self._depth_of(self._pairs[0].image0)  # a set without any depth is said at once

    def __len__(self) -> int:
        """See `PosedScene`."""
        return len(self._pairs)

    def read(self, index: int) -> Sample:
        """See `PosedScene`."""
        pair = self._pairs[index]
        view0, view1 = self._files(pair.image0, pair.K0), self._files(pair.image1, pair.K1)
        return read_posed_pair(f"{pair.image0}-{pair.image1}", view0, view1, pair.T_0to1)

    def _files(self, image: str, K: Float64Array) -> ViewFiles:
        units = self._options.depth_units
        return ViewFiles(self._folder / image, self._depth_of(image), K, depth_units=units)

    def _depth_of(self, image: str) -> Path:
        folder = self._folder / self._options.depth
        for base in (folder / image, folder / Path(image).name):
            for suffix in _SUFFIXES:
                # COLMAP puts its suffix behind the image's own.
                path = base.with_name(base.name + suffix) if suffix.endswith(".bin") else base.with_suffix(suffix)
                if path.is_file():
                    return path
        raise CorruptObject(f"{folder}: has no depth map of {image}; option depth names another folder")
