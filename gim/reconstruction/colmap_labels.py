"""Labels as structure from motion makes them, the paper's baseline: to be compared with propagation on the same video.

GIM, ICLR 2024, Sec. 4: COLMAP on 200 frames of a clip of 4,000, which fails on much of what the internet has. So what
fails is counted, by clip and by frame. The labels are sparse: points of the model that both frames see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gim.geometry.pixels import from_corner_origin
from gim.matchers.base import Matcher
from gim.reconstruction.config import SEQUENTIAL, ReconstructionConfig
from gim.reconstruction.mapping import NoModel
from gim.reconstruction.run import Work, reconstruct
from gim.records import Float32Array

CLIP_CONFIG = ReconstructionConfig(pairs=SEQUENTIAL, camera="shared")  # frames of one video are of one camera
_ONE_THREAD = Work()


@dataclass(frozen=True, slots=True)
class ColmapLabels:
    """What structure from motion says of one clip."""

    num_frames: int
    num_registered: int
    pairs: Mapping[tuple[str, str], Float32Array]  # names of frames -> [N, 4] rows (x0, y0, x1, y1), pixels
    failure: str = ""  # why there is no model; empty where there is one


@dataclass(frozen=True, slots=True)
class FailureRate:
    """How much of some clips structure from motion could not use."""

    clips: int
    clips_failed: int
    frames: int
    frames_registered: int

    @property
    def clip_share(self) -> float:
        """Clips without a model, 0 to 1."""
        return self.clips_failed / self.clips if self.clips else 0.0

    @property
    def frame_share(self) -> float:
        """Frames without a pose, 0 to 1."""
        return 1 - self.frames_registered / self.frames if self.frames else 0.0


def label_with_colmap(
    frames: Path,
    out: Path,
    matcher: Matcher,
    config: ReconstructionConfig = CLIP_CONFIG,
    *,
    masks: Path | None = None,
    min_points: int = 15,
    work: Work = _ONE_THREAD,
) -> ColmapLabels:
    """Label the sampled frames of one clip by structure from motion.

    Args:
        frames: folder of them, in the order of their names; the paper takes 200 of 4,000.
        out: gets the reconstruction; an interrupted one goes on.
        matcher: any.
        config: how it is reconstructed.
        masks: folder of `<frame name>.png`, 0 = ignore.
        min_points: a pair that shares fewer points of the model has no label.
        work: threads, limits, progress.

    Raises:
        InvalidInput: frames that cannot be read, or a folder that holds something else. No model is no error.
    """
    num_frames = len([path for path in frames.iterdir() if path.is_file()]) if frames.is_dir() else 0
    try:
        summary = reconstruct(frames, out, matcher, config, masks=masks, work=work)
    except NoModel as error:
        return ColmapLabels(num_frames, 0, {}, str(error))
    model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    return ColmapLabels(summary.images, summary.registered, covisible_pairs(model, min_points))


def covisible_pairs(model: Any, min_points: int) -> dict[tuple[str, str], Float32Array]:
    """Correspondences float32 [N, 4] of each two images of a pycolmap model that share at least so many points.

    Positions are those of the keypoints, not of the points projected, with their origin at the first pixel's centre.
    Names are ascending, rows by the ids of the points.
    """
    seen = {}
    for index in model.reg_image_ids():
        image = model.images[index]
        points = sorted((point.point3D_id, tuple(point.xy)) for point in image.points2D if point.has_point3D())
        ids = np.array([point_id for point_id, _ in points], np.uint64)
        places = np.array([place for _, place in points], np.float64).reshape(-1, 2)
        ids, first = np.unique(ids, return_index=True)  # an image may see a point twice
        seen[image.name] = (ids, from_corner_origin(places[first]))
    pairs = {}
    for name0, name1 in combinations(sorted(seen), 2):
        (ids0, places0), (ids1, places1) = seen[name0], seen[name1]
        _, rows0, rows1 = np.intersect1d(ids0, ids1, assume_unique=True, return_indices=True)
        if len(rows0) >= min_points:
            pairs[name0, name1] = np.hstack([places0[rows0], places1[rows1]])
    return pairs


def failure_rate(clips: Sequence[ColmapLabels]) -> FailureRate:
    """Count what failed over clips."""
    return FailureRate(
        clips=len(clips),
        clips_failed=sum(not clip.num_registered for clip in clips),
        frames=sum(clip.num_frames for clip in clips),
        frames_registered=sum(clip.num_registered for clip in clips),
    )
