"""A COLMAP database of keypoints and matches, written through pycolmap."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pycolmap

from gim.export.keypoints import KeypointTable, one_to_one
from gim.geometry.pixels import to_corner_origin
from gim.reconstruction.cameras import CameraGroup
from gim.reconstruction.images import SourceImage
from gim.reconstruction.orientation import to_stored
from gim.reconstruction.pairs import Pair
from gim.records import Float32Array


@dataclass(frozen=True, slots=True)
class IndexedMatches:
    """Keypoints of each image, and pairs of them."""

    keypoints: tuple[Float32Array, ...]  # [N, 2] of each image, pixels, upright; only those that some pair matched
    matches: tuple[npt.NDArray[np.uint32], ...]  # [M, 2] of each pair, one-to-one

    @property
    def num_keypoints(self) -> int:
        """Over all images."""
        return sum(map(len, self.keypoints))

    @property
    def num_matches(self) -> int:
        """Over all pairs."""
        return sum(map(len, self.matches))


def index_matches(
    num_images: int, pairs: Sequence[Pair], correspondences: Sequence[Float32Array], merge_px: float
) -> IndexedMatches:
    """Give each position an id that it keeps over all pairs of its image: tracks are made of those.

    SIFT has a keypoint twice where two angles fit; by place they are one, and so are their tracks.

    Args:
        num_images: positions in `pairs` are below it.
        pairs: of images.
        correspondences: float32 [N, 4] of each pair.
        merge_px: how near positions of different pairs are one keypoint; 0: equal.
    """
    table = KeypointTable(merge_px)
    matches = []
    for (first, second), points in zip(pairs, correspondences, strict=True):
        ids0, ids1 = table.add(first, points[:, :2]), table.add(second, points[:, 2:])
        keep = one_to_one(ids0, ids1)
        matches.append(np.column_stack([ids0[keep], ids1[keep]]).astype(np.uint32))
    return IndexedMatches(tuple(table.keypoints(index) for index in range(num_images)), tuple(matches))


def write_database(
    path: Path,
    images: Sequence[SourceImage],
    cameras: Sequence[CameraGroup],
    pairs: Sequence[Pair],
    found: IndexedMatches,
    *,
    min_matches: int,
) -> list[Pair]:
    """Write a new database: one image per frame, positions of the stored image with COLMAP's origin.

    Args:
        path: of the file, which must not exist.
        images: in the order of `found.keypoints`.
        cameras: each image in one of them.
        pairs: in the order of `found.matches`.
        found: keypoints and matches.
        min_matches: pairs with fewer are left out.

    Returns:
        The pairs that were written.
    """
    written = []
    with pycolmap.Database.open(str(path)) as database:
        ids = _write_images(database, images, cameras)
        for index, (image, keypoints) in enumerate(zip(images, found.keypoints, strict=True)):
            places = to_stored(keypoints, image.orientation, image.stored_size)
            database.write_keypoints(ids[index], to_corner_origin(places))
        for (first, second), matches in zip(pairs, found.matches, strict=True):
            if len(matches) >= min_matches:
                database.write_matches(ids[first], ids[second], matches)
                written.append((first, second))
    return written


def _write_images(
    database: pycolmap.Database, images: Sequence[SourceImage], cameras: Sequence[CameraGroup]
) -> dict[int, int]:
    """Cameras, each as a rig of one, and images, each as a frame of one, in their order; ids by position."""
    rigs = {}
    for group in cameras:
        camera = group.camera
        camera.camera_id = database.write_camera(camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(camera.sensor_id)
        rig_id = database.write_rig(rig)
        rigs.update(dict.fromkeys(group.members, (camera.camera_id, rig_id)))
    ids = {}
    for index, source in enumerate(images):
        camera_id, rig_id = rigs[index]
        image = pycolmap.Image(name=source.name, camera_id=camera_id)
        image.image_id = database.write_image(image)
        moment = pycolmap.Frame()
        moment.rig_id = rig_id
        moment.add_data_id(image.data_id)
        database.write_frame(moment)
        ids[index] = image.image_id
    return ids
