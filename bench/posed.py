"""Image pairs of known geometry from the sample data, for the benches that judge by truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from gim.benchmarks.posed import read_posed_pairs
from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.homography import transfer_distance_px
from gim.geometry.pose import as_pose, relative_pose
from gim.records import Float32Array, Float64Array, Uint8Array

KITTI_INTRINSICS = {  # fx = fy, cx, cy; from the data's README
    "train_videos/kitti05_6s": (707.0912, 601.8873, 183.1104),
    "train_videos/kitti01_5s": (718.856, 607.1928, 185.2157),
}


@dataclass(frozen=True, slots=True)
class KnownPair:
    """Two images and either their fundamental matrix or their homography."""

    scene: str
    image0: Uint8Array
    image1: Uint8Array
    F01: Float64Array | None = None
    H01: Float64Array | None = None

    def distance_px(self, points: Float32Array) -> Float64Array:
        """How far correspondences [N, 4] are from the truth."""
        if self.F01 is not None:
            return symmetric_epipolar_distance_px(points, self.F01)
        return transfer_distance_px(points, self.H01)


def known_pairs(data: Path, *, every: int = 1) -> Iterator[KnownPair]:
    """All pairs, or every n-th of each scene."""
    for pairs in (
        _kitti06(data),
        *(_kitti_video(data, name) for name in KITTI_INTRINSICS),
        _fox(data),
        _planes(data),
    ):
        yield from list(pairs)[::every]


def posed_rows(folder: Path) -> Iterator[tuple[list[str], Float64Array, Float64Array, Float64Array]]:
    """The pairs of a posed scene: names of both images, K0, K1 and T_0to1."""
    for pair in read_posed_pairs(folder / "pairs.txt"):
        yield [pair.image0, pair.image1], pair.K0, pair.K1, pair.T_0to1


def plane_rows(folder: Path) -> Iterator[tuple[list[str], Float64Array]]:
    """The pairs of planes: names of both images, and H01."""
    for row in _rows(folder / "pairs_h.txt"):
        yield row[:2], np.array(row[2:11], float).reshape(3, 3)


def _grey(path: Path) -> Uint8Array:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def _rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]


def _kitti06(data: Path) -> Iterator[KnownPair]:
    rows = _rows(data / "posed/kitti06/poses.txt")
    names = [row[0] for row in rows]
    K = np.array(rows[0][1:10], float).reshape(3, 3)
    poses = [as_pose(np.array(row[10:26], float)) for row in rows]
    images = [_grey(data / "posed/kitti06" / name) for name in names]
    for gap in (2, 4, 8):
        for i in range(0, len(names) - gap, 6):
            F01 = fundamental_from_pose(K, K, relative_pose(poses[i], poses[i + gap]))
            yield KnownPair(f"kitti06 gap {gap}", images[i], images[i + gap], F01)


def _kitti_video(data: Path, name: str) -> Iterator[KnownPair]:
    focal, cx, cy = KITTI_INTRINSICS[name]
    K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
    poses = [as_pose(row) for row in np.loadtxt(data / f"{name}_poses.txt")]
    with av.open(str(data / f"{name}.mp4")) as container:
        images = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    for gap in (1, 2, 4):
        for i in range(0, len(images) - gap, 8):
            F01 = fundamental_from_pose(K, K, relative_pose(poses[i], poses[i + gap]))
            yield KnownPair(f"{Path(name).name[:7]} gap {gap}", images[i], images[i + gap], F01)


def _fox(data: Path) -> Iterator[KnownPair]:
    folder = data / "posed/fox"
    for names, K0, K1, T_0to1 in islice(posed_rows(folder), None, None, 5):
        yield KnownPair("fox", *(_grey(folder / name) for name in names), fundamental_from_pose(K0, K1, T_0to1))


def _planes(data: Path) -> Iterator[KnownPair]:
    folder = data / "homography"
    for names, H01 in plane_rows(folder):
        yield KnownPair("planes", *(_grey(folder / name) for name in names), H01=H01)
