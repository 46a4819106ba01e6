"""A scene of points whose cameras are known, as flat images and a matcher that knows where the points are.

Not a test. An image is of one grey, by which the matcher knows its number; so nothing is rendered or detected, and all
that is tested is what becomes of correspondences.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from gim import codecs
from gim.matchers.base import Matcher
from gim.records import Correspondences

SIZE = (320, 240)
FOCAL_PX = 300.0
_STEP = 20  # of grey, from one image to the next


@dataclass
class KnownScene:
    """Points [P, 3] and cameras `T_world_to_camera` [V, 4, 4]."""

    num_views: int = 6
    num_points: int = 200
    seed: int = 0
    points: np.ndarray = field(init=False)
    T_world_to_camera: np.ndarray = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.points = rng.uniform((-2, -1.5, 4), (2, 1.5, 8), (self.num_points, 3))
        self.T_world_to_camera = np.stack([_looking(angle) for angle in np.linspace(-0.4, 0.4, self.num_views)])

    def keypoints(self, view):
        """Positions [P, 2] of all points, pixels, and whether they are inside the image."""
        T = self.T_world_to_camera[view]
        in_camera = self.points @ T[:3, :3].T + T[:3, 3]
        centre = (np.array(SIZE) - 1) / 2
        places = FOCAL_PX * in_camera[:, :2] / in_camera[:, 2:] + centre
        return places, np.all((places > 0) & (places < np.array(SIZE) - 1), axis=1)

    def write(self, folder):
        """Its images, 0.png and so on."""
        folder.mkdir(parents=True)
        for view in range(self.num_views):
            (folder / f"{view}.png").write_bytes(codecs.encode_png(grey_of(view)))
        return folder

    @property
    def centres(self):
        """Where the cameras stand, [V, 3]."""
        return np.stack([-T[:3, :3].T @ T[:3, 3] for T in self.T_world_to_camera])


def grey_of(view):
    """The image of a view."""
    return np.full((SIZE[1], SIZE[0], 3), (view + 1) * _STEP, np.uint8)


class KnowingMatcher(Matcher):
    """Says what the scene says; `jitter_px` moves positions anew in each pair, as dense matchers do."""

    name: ClassVar[str] = "knowing"

    def __init__(self, scene: KnownScene, *, jitter_px: float = 0.0, max_gap: int = 100) -> None:
        super().__init__({"jitter_px": jitter_px, "max_gap": max_gap, "seed": scene.seed, "num": scene.num_points})
        self.scene, self.jitter_px, self.max_gap = scene, jitter_px, max_gap
        self.asked: list[tuple[int, int]] = []

    def match(self, image0: Any, image1: Any, mask0: Any = None, mask1: Any = None) -> Correspondences:
        view0, view1 = (round(float(image.mean()) / _STEP) - 1 for image in (image0, image1))
        self.asked.append((view0, view1))
        (places0, inside0), (places1, inside1) = self.scene.keypoints(view0), self.scene.keypoints(view1)
        if abs(view0 - view1) > self.max_gap:
            return Correspondences.none()
        rng = np.random.default_rng([view0, view1])
        rows = np.hstack([places0, places1])[inside0 & inside1]
        rows += rng.uniform(-self.jitter_px, self.jitter_px, rows.shape)
        return Correspondences(rows.astype(np.float32), np.ones(len(rows), np.float32))


def aligned_error(found, truth):
    """Largest distance of found places [N, 3] to the true ones after the best similarity (Umeyama, 1991)."""
    mean0, mean1 = found.mean(axis=0), truth.mean(axis=0)
    U, S, Vt = np.linalg.svd((truth - mean1).T @ (found - mean0))
    sign = np.diag([1, 1, np.linalg.det(U @ Vt)])
    R = U @ sign @ Vt
    scale = np.trace(np.diag(S) @ sign) / np.square(found - mean0).sum()
    return np.linalg.norm(scale * (found - mean0) @ R.T + mean1 - truth, axis=1).max()


def is_ascending(values):
    """Whether each is greater than the one before."""
    return all(first < second for first, second in pairwise(values))


def _looking(angle):
    """A camera on a circle around (0, 0, 6), looking at it."""
    centre = np.array([6 * np.sin(angle), 0.3 * np.sin(3 * angle), 6 - 6 * np.cos(angle)])
    ahead = np.array([0.0, 0.0, 6.0]) - centre
    ahead /= np.linalg.norm(ahead)
    aside = np.cross([0.0, 1.0, 0.0], ahead)
    aside /= np.linalg.norm(aside)
    R = np.stack([aside, np.cross(ahead, aside), ahead])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ centre
    return T
