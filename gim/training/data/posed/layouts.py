"""The layouts of posed sets by name: which scenes a folder holds, and a scene read to pairs."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gim.datasets.manifest import PosedKind
from gim.errors import InvalidInput
from gim.training.data.posed.colmap import ColmapScene, list_colmap
from gim.training.data.posed.folder import FolderScene, list_folder
from gim.training.data.posed.megadepth import MegaDepthScene, list_megadepth
from gim.training.data.posed.options import PosedOptions
from gim.training.data.posed.scannet import ScanNetScene, list_scannet
from gim.training.data.posed.scene import PosedScene, SceneFiles


class _Layout(NamedTuple):
    list_scenes: Callable[[Path, PosedOptions], list[SceneFiles]]
    read_scene: Callable[[SceneFiles, PosedOptions], PosedScene]


_LAYOUTS: dict[PosedKind, _Layout] = {
    "megadepth": _Layout(list_megadepth, MegaDepthScene),
    "scannet": _Layout(list_scannet, ScanNetScene),
    "colmap": _Layout(list_colmap, ColmapScene),
    "posed": _Layout(list_folder, FolderScene),
}


def list_scenes(kind: PosedKind, root: Path, options: PosedOptions) -> list[SceneFiles]:
    """The scenes of a set that its options let through, by name; no list of pairs is read.

    Raises:
        InvalidInput: the folder is absent, of another layout, or has none of the scenes asked for.
    """
    if not root.is_dir():
        raise InvalidInput(f"posed set of kind {kind}: {root} is no folder")
    found = _LAYOUTS[kind].list_scenes(root, options)
    names = {scene.name for scene in found}
    if absent := sorted({*options.scenes, *options.without} - names):
        raise InvalidInput(f"{root}: has no scene {', '.join(absent)}")
    wanted = (set(options.scenes) or names) - set(options.without)
    if not wanted:
        raise InvalidInput(f"{root}: no scene is left of {len(found)}")
    return [scene for scene in found if scene.name in wanted]


def read_scene(kind: PosedKind, files: SceneFiles, options: PosedOptions) -> PosedScene:
    """The pairs of a scene; no image is read.

    Raises:
        InvalidInput: its index is damaged; the message names the file.
    """
    return _LAYOUTS[kind].read_scene(files, options)
