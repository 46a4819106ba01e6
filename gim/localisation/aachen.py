"""Aachen Day-Night v1.1, as hloc's pipeline of that name: triangulate the reference model anew, localise the queries.

<root>/images/images_upright/{db,query,sequences}/...      or <root>/images_upright/...
<root>/3D-models/aachen_v_1_1/{cameras,images,points3D}.bin
<root>/queries/*_time_queries_with_intrinsics.txt
"""

from dataclasses import dataclass
from pathlib import Path

import h5py

from gim.errors import InvalidInput
from gim.localisation.covisibility import covisible_pairs
from gim.localisation.hloc_files import Pair, write_pairs
from gim.localisation.localise import localise_in_model
from gim.localisation.model import SceneModel
from gim.localisation.pose import Localisation
from gim.localisation.queries import Query, read_queries
from gim.localisation.result import LocalisationResult, Truth, conclude
from gim.localisation.submission import Bound
from gim.localisation.triangulation import triangulate
from gim.localisation.workplace import Workplace, check_folders, find_retrieval, read_retrieval

BOUNDS = (Bound(0.25, 2), Bound(0.5, 5), Bound(1, 10))
_MODEL = "3D-models/aachen_v_1_1"
_IMAGES = ("images/images_upright", "images_upright")
_QUERIES = "*_time_queries_with_intrinsics.txt"
_SOURCE = "it is laid out as hloc's pipelines/Aachen_v1_1 says, from visuallocalization.net"


@dataclass(frozen=True, slots=True)
class Aachen:
    """The dataset, read but for its images."""

    root: Path
    images: Path
    reference: SceneModel
    queries: tuple[Query, ...]
    retrieved: dict[str, list[str]]  # database images of each query, the most similar first

    @classmethod
    def read(cls, root: Path, retrieval: Path | None) -> "Aachen":
        """Read a folder.

        Args:
            root: of the dataset.
            retrieval: list of pairs; None: the one in the folder.

        Raises:
            InvalidInput: a folder or list is absent or malformed, or the pairs name an unknown image.
        """
        images = next((name for name in _IMAGES if (root / name).is_dir()), _IMAGES[0])
        check_folders(root, [images, _MODEL, "queries"], _SOURCE)
        lists = sorted((root / "queries").glob(_QUERIES))
        if not lists:
            raise InvalidInput(f"{root / 'queries'}: no {_QUERIES} in it; {_SOURCE}")
        pairs = find_retrieval(retrieval, root, 50, "pairs/aachen_v1.1/pairs-query-netvlad50.txt")
        queries = read_queries(lists)
        reference = SceneModel.read(root / _MODEL)
        names = [query.name for query in queries]
        retrieved = read_retrieval(pairs, names, reference.names, f"the model {_MODEL}")
        return cls(root, root / images, reference, tuple(queries), retrieved)

    def truth(self, path: Path | None) -> Truth | None:
        """Known poses of queries, if a file is given.

        Raises:
            InvalidInput: see `Truth.read`.
        """
        return Truth.read(path, [query.name for query in self.queries], BOUNDS, time_of_day) if path else None


def time_of_day(name: str) -> str:
    """The group of a query in the paper's table, from its folder: `day`, `night`, or none."""
    return next((part for part in name.split("/")[:-1] if part in ("day", "night")), "")


def localise_aachen(dataset: Aachen, workplace: Workplace, truth: Truth | None) -> LocalisationResult:
    """Match, triangulate, localise, and write the submission.

    As in hloc, a query without a pose is submitted with that of its most similar image; it counts as a failure here.

    Raises:
        InvalidInput: an image is absent or cannot be read, or nothing can be triangulated.
    """
    config = workplace.config
    database_pairs = covisible_pairs(dataset.reference, config.covisible)
    if not database_pairs:
        raise InvalidInput(f"{dataset.root / _MODEL}: no two images of it see a common point")
    query_pairs = [(query, image) for query, images in dataset.retrieved.items() for image in images]
    workplace.match([*database_pairs, *query_pairs], dataset.retrieved)
    write_pairs(workplace.folder / f"pairs-db-covis{config.covisible}.txt", database_pairs)
    write_pairs(workplace.folder / "pairs-query.txt", query_pairs)
    model = _triangulated(dataset, workplace, database_pairs)
    found = _localise_all(dataset, model, workplace)
    stand_ins = {
        item.name: dataset.reference.pose(dataset.retrieved[item.name][0])
        for item in found
        if item.pose is None and item.name in dataset.retrieved
    }
    path = workplace.folder / f"Aachen-v1.1_{workplace.folder.name}.txt"
    return conclude(found, stand_ins, path, truth, _wrong_sizes(dataset, workplace))


def _triangulated(dataset: Aachen, workplace: Workplace, pairs: list[Pair]) -> SceneModel:
    workplace.progress("triangulation", 0, 1)
    model = triangulate(
        dataset.reference,
        pairs,
        workplace.features,
        workplace.matches,
        workplace.folder / f"sfm-covis{workplace.config.covisible}",
        images=dataset.images,
        max_error_px=workplace.config.max_triangulation_error_px,
    )
    workplace.progress("triangulation", 1, 1)
    return model


def _localise_all(dataset: Aachen, model: SceneModel, workplace: Workplace) -> list[Localisation]:
    found = []
    with h5py.File(workplace.features, "r") as features, h5py.File(workplace.matches, "r") as matches:
        for done, query in enumerate(dataset.queries):
            workplace.progress("queries", done, len(dataset.queries))
            retrieved = dataset.retrieved.get(query.name, [])
            found.append(localise_in_model(query, retrieved, model, (features, matches), workplace.config))
    workplace.progress("queries", len(dataset.queries), len(dataset.queries))
    return found


def _wrong_sizes(dataset: Aachen, workplace: Workplace) -> list[str]:
    """Queries whose image is not of the size that its intrinsics are for."""
    notes = []
    with h5py.File(workplace.features, "r") as features:
        for query in dataset.queries:
            if query.name not in dataset.retrieved:
                continue
            width, height = (int(side) for side in features[query.name]["image_size"])
            if (width, height) != (query.width, query.height):
                listed = f"{query.width}x{query.height}"
                notes.append(f"{query.name} is {width}x{height} pixels, its intrinsics are for {listed}")
    return notes
