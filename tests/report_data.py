"""A small store with everything a report reads: one good video, one rejected one. Not a test; used by report tests.

Frames show coloured discs at random 3D points in front of a textured wall, seen by a camera that moves sideways and
forward, so correspondences, fundamental matrices and reach are those of real geometry.
"""

import hashlib
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gim import codecs, keys
from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.labels.shards import ShardWriter
from gim.ports.store import Store
from gim.records import (
    Float64Array,
    FrameManifest,
    Funnel,
    PairEntry,
    PairIndex,
    PairQuality,
    PairsManifest,
    Provenance,
    Segment,
    ShardInfo,
    Shot,
    TrainingPair,
    Uint8Array,
    VideoMeta,
)

SAMPLING_ID = "s0.2s-0123abcd"
RECIPE_ID = "standard-89abcdef"
HOSTILE_TITLE = "</script><img src=x onerror=\"window.hacked=1\"><b>'bold'</b> {{7*7}}"
WIDTH, HEIGHT = 320, 240
K = np.array([[260.0, 0, 159.5], [0, 260.0, 119.5], [0, 0, 1]])


@dataclass(frozen=True)
class Scene:
    """Random points and the camera path through them."""

    points: Float64Array  # [N, 3]
    colours: Uint8Array  # [N, 3]
    wall: Uint8Array

    def camera(self, time: float) -> tuple[Float64Array, Float64Array]:
        """Rotation and translation (world to camera) at a time in seconds."""
        angle = 0.03 * np.sin(time)
        R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        return R, -R @ np.array([0.5 * time, 0.05 * np.sin(2 * time), 0.15 * time])

    def project(self, time: float) -> tuple[Float64Array, Float64Array]:
        """Pixels [N, 2] and depths [N]."""
        R, t = self.camera(time)
        camera = self.points @ R.T + t
        image = camera @ K.T
        return image[:, :2] / image[:, 2:], camera[:, 2]

    def fundamental(self, time0: float, time1: float) -> Float64Array:
        """F01 with unit norm."""
        (R0, t0), (R1, t1) = self.camera(time0), self.camera(time1)
        R = R1 @ R0.T
        return fundamental_from_pose(K, K, np.hstack([R, (t1 - R @ t0)[:, None]]))

    def render(self, time: float) -> Uint8Array:
        """One frame, RGB [HEIGHT, WIDTH, 3]."""
        shift = int(20 * time)
        image = np.ascontiguousarray(self.wall[:HEIGHT, shift : shift + WIDTH])
        pixels, depths = self.project(time)
        for i in np.argsort(-depths):
            if depths[i] > 0.5 and np.all(np.abs(pixels[i]) < 2000):
                centre = (round(float(pixels[i, 0])), round(float(pixels[i, 1])))
                cv2.circle(image, centre, max(2, round(14 / depths[i])), self.colours[i].tolist(), -1, cv2.LINE_AA)
        return image


def make_scene(rng: np.random.Generator, num_points: int = 900) -> Scene:
    """A scene around the path of `Scene.camera`."""
    points = rng.uniform((-4, -3, 3.0), (10, 3, 9.0), (num_points, 3))
    noise = rng.integers(60, 190, (HEIGHT // 8, 100, 3), dtype=np.uint8)
    wall = cv2.resize(noise, (800, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return Scene(points, rng.integers(30, 255, (num_points, 3), dtype=np.uint8), np.asarray(wall, np.uint8))


def scene_pair(
    scene: Scene, video_id: str, frames: tuple[int, int], times: tuple[float, float], rng: np.random.Generator
) -> TrainingPair:
    """The points seen in both frames, with 0.3 px of noise."""
    (pixels0, depths0), (pixels1, depths1) = scene.project(times[0]), scene.project(times[1])
    inside = (depths0 > 0.5) & (depths1 > 0.5)
    for pixels in (pixels0, pixels1):
        inside &= np.all((pixels > 0) & (pixels < (WIDTH - 1, HEIGHT - 1)), axis=1)
    points = np.hstack([pixels0, pixels1])[inside]
    points = (points + rng.normal(0, 0.3, points.shape)).astype(np.float32)
    F01 = scene.fundamental(*times)
    return TrainingPair(video_id, *frames, *times, points, F01, quality_of(points, F01, frames, times))


def quality_of(
    points: np.ndarray, F01: Float64Array, frames: tuple[int, int], times: tuple[float, float]
) -> PairQuality:
    """Quality fields measured in a plain way (parallax as spread of the displacement)."""
    displacement = points[:, 2:] - points[:, :2]
    length = np.linalg.norm(displacement, axis=1)
    parallax = np.linalg.norm(displacement - np.median(displacement, axis=0), axis=1)
    shares = [len({(int(x) * 8 // WIDTH, int(y) * 8 // HEIGHT) for x, y in points[:, i : i + 2]}) / 64 for i in (0, 2)]
    return PairQuality(
        num_correspondences=len(points),
        interval_frames=frames[1] - frames[0],
        interval_seconds=round(times[1] - times[0], 6),
        num_links=max(0, round((times[1] - times[0]) / 0.8) - 1),
        guided_share=0.25,
        confirmed_share=1.0,
        coverage=min(1.0, *shares),
        median_displacement_px=float(np.median(length)),
        median_parallax_px=float(np.median(parallax)),
        epipolar_residual_px=float(np.median(symmetric_epipolar_distance_px(points, F01))),
        num_matchers=1,
    )


def write_shard(store: Store, key: str, pairs: Sequence[TrainingPair], jpegs: Mapping[int, bytes]) -> ShardInfo:
    """One shard, as the pipeline writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shard.tar")
        with ShardWriter(path) as writer:
            for pair in pairs:
                writer.add(pair, jpegs[pair.frame0], jpegs[pair.frame1])
        data = path.read_bytes()
    store.put(key, data)
    return ShardInfo(key, hashlib.sha256(data).hexdigest(), len(data), len(pairs))


def write_video(
    store: Store,
    meta: VideoMeta,
    frames: FrameManifest,
    *,
    pairs: Sequence[TrainingPair],
    jpegs: Mapping[int, bytes],
    funnel: Funnel,
    shard_pairs: int = 64,
) -> None:
    """Everything a finished run leaves of one video: meta, frames, shards, index, manifest."""
    video_id = meta.video_id
    store.put(keys.video_meta(video_id), codecs.to_json(meta))
    for frame, data in jpegs.items():
        store.put(keys.frame_image(video_id, frames.sampling_id, frame), data)
    store.put(keys.frame_manifest(video_id, frames.sampling_id), codecs.to_json(frames))
    entries, shards = [], []
    for first in range(0, len(pairs), shard_pairs):
        shard = len(shards)
        part = pairs[first : first + shard_pairs]
        shards.append(write_shard(store, keys.pairs_shard(video_id, RECIPE_ID, shard), part, jpegs))
        entries += [_entry(pair, shard, frames.shots) for pair in part]
    store.put(keys.pairs_index(video_id, RECIPE_ID), codecs.to_json(PairIndex(video_id, RECIPE_ID, entries)))
    manifest = PairsManifest(
        video_id=video_id,
        sampling_id=frames.sampling_id,
        recipe_id=RECIPE_ID,
        recipe={"name": "standard", "pairing": {"base_intervals": [1, 2, 4]}},
        matcher_ids=["rootsift-00112233"],
        num_pairs=len(pairs),
        num_correspondences=sum(len(pair.correspondences) for pair in pairs),
        shards=shards,
        funnel=funnel,
        rejected=frames.rejected,
    )
    store.put(keys.pairs_manifest(video_id, RECIPE_ID), codecs.to_json(manifest))


def _entry(pair: TrainingPair, shard: int, shots: Sequence[Shot]) -> PairEntry:
    shot = next(shot.index for shot in shots if shot.first_frame <= pair.frame0 <= shot.last_frame)
    name = f"{pair.frame0:08d}_{pair.frame1:08d}"
    return PairEntry(name, shard, pair.frame0, pair.frame1, pair.time0, pair.time1, shot, pair.quality)


def good_video(store: Store, *, title: str = "Points in front of a wall", num_samples: int = 60, seed: int = 7) -> str:
    """Write a video of two used shots and a rejected one between them; returns its id."""
    rng = np.random.default_rng(seed)
    scene = make_scene(rng)
    video_id = keys.file_video_id(hashlib.sha256(f"good {seed}".encode()).hexdigest())
    indices = [6 * i for i in range(num_samples)]
    times = [index / 30 for index in indices]
    cut = [0, num_samples // 2, num_samples // 2 + 6, num_samples]
    shots = [
        Shot(
            i,
            indices[a],
            indices[b - 1] + 5,
            times[a],
            times[b - 1] + 5 / 30,
            a,
            b - a,
            "static_camera" if i == 1 else "",
        )
        for i, (a, b) in enumerate(itertools.pairwise(cut))
    ]
    jpegs = {index: codecs.encode_jpeg(scene.render(time)) for index, time in zip(indices, times, strict=True)}
    pairs = []
    for shot in (shot for shot in shots if not shot.rejected):
        last = shot.first_sample + shot.num_samples - 1
        for start in range(shot.first_sample, last - 1):
            end = min(last, start + int(rng.integers(2, 14)))
            pairs.append(scene_pair(scene, video_id, (indices[start], indices[end]), (times[start], times[end]), rng))
    frames = _manifest(video_id, indices, times, shots)
    used = sum(shot.num_samples for shot in shots if not shot.rejected)
    matcher = "rootsift-00112233"
    funnel = Funnel(
        frames_decoded=6 * num_samples,
        frames_sampled=num_samples,
        frames_used=used,
        frames_rejected={"static_camera": num_samples - used},
        pairs_attempted={matcher: 3 * used},
        pairs_labelled={matcher: 3 * used - 20},
        pairs_rejected={matcher: {"too_few_inliers": 14, "too_few_matches": 6}},
        starts=used,
        pairs_kept=len(pairs),
        starts_rejected={"end_of_shot": used - len(pairs)},
        chain_ends={"too_few_links": len(pairs) - 10, "end_of_shot": 10},
    )
    write_video(store, _meta(video_id, title), frames, pairs=pairs, jpegs=jpegs, funnel=funnel)
    return video_id


def rejected_video(store: Store, *, title: str = HOSTILE_TITLE) -> str:
    """Write a video of which nothing was kept; returns its id."""
    video_id = keys.youtube_video_id("abcdefghijk")
    indices = list(range(0, 60, 6))
    times = [index / 30 for index in indices]
    jpegs = {index: codecs.encode_jpeg(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)) for index in indices}
    shots = [Shot(0, 0, 59, 0.0, 59 / 30, 0, 10, "static_camera")]
    frames = _manifest(video_id, indices, times, shots, rejected="static_camera")
    funnel = Funnel(60, 10, 0, {"static_camera": 10}, {}, {}, {}, 0, 0, {}, {})
    write_video(store, _meta(video_id, title), frames, pairs=[], jpegs=jpegs, funnel=funnel)
    return video_id


def _meta(video_id: str, title: str) -> VideoMeta:
    provenance = Provenance(f"clips/{title}.mp4", licence="local", uploader="someone", title=title)
    return VideoMeta(video_id, keys.video_source(video_id, "mp4"), "0" * 64, 12345, provenance)


def _manifest(
    video_id: str, indices: list[int], times: list[float], shots: list[Shot], rejected: str = ""
) -> FrameManifest:
    used = [shot for shot in shots if not shot.rejected]
    return FrameManifest(
        video_id=video_id,
        sampling_id=SAMPLING_ID,
        width=WIDTH,
        height=HEIGHT,
        fps=30.0,
        num_frames=6 * len(indices),
        duration_seconds=times[-1] + 0.2,
        step_seconds=0.2,
        frame_indices=indices,
        frame_times=times,
        shots=shots,
        segments=[Segment(i, shot.index, shot.first_sample, shot.num_samples) for i, shot in enumerate(used)],
        rejected=rejected,
    )
