"""Clips: what is filmed in which order, rendered, with grain and a logo, and encoded as H.264 by PyAV.

The clip that comes with the package is made by `python -m gim.synthetic`; long clips for measurements by `long_plan`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from gim.records import Float64Array, Uint8Array
from gim.synthetic import camera as cameras
from gim.synthetic.camera import intrinsics
from gim.synthetic.render import render_frame
from gim.synthetic.ripmap import shrink
from gim.synthetic.scene import Scene
from gim.synthetic.textures import Canvas
from gim.synthetic.truth import ClipTruth, Overlay, SceneTruth, ShotTruth
from gim.synthetic.worlds import generate

_POSE_DECIMALS = 9  # poses are rendered exactly as the truth file writes them


@dataclass(frozen=True)
class ShotPlan:
    """One shot: a world, and a camera's path through it."""

    name: str
    kind: str  # of the world
    seed: int
    path: cameras.Path
    duration_seconds: float
    parameters: dict[str, Any] = field(default_factory=dict)  # of the world


@dataclass(frozen=True)
class ClipPlan:
    """A whole clip."""

    shots: tuple[ShotPlan, ...]
    width: int = 640
    height: int = 360
    fps: int = 30
    horizontal_fov_deg: float = 70.0
    supersample: int = 2
    lens_blur_px: float = 0.0  # standard deviation; a real lens is about 0.6, and so softened frames compress better
    grain: float = 0.8  # standard deviation of the sensor's noise, grey levels
    logo: str = ""  # burned into the first shot, top right
    seed: int = 0  # of the grain


def write_clip(path: Path, plan: ClipPlan, *, crf: int = 23, preset: str = "veryfast", x264: str = "") -> ClipTruth:
    """Render a plan into an mp4 file; the same plan and package versions give the same bytes.

    Args:
        path: of the mp4; the truth is not written: `ClipTruth.save`.
        plan: what to film.
        crf: x264's constant rate factor; lower is better and larger.
        preset: x264's preset.
        x264: further parameters of x264, `name=value:...`.

    Returns:
        The truth of the clip.
    """
    truth = truth_of(plan)
    # x264 decides differently with another number of threads; psychovisual tuning invents detail that is not there
    parameters = ":".join(filter(None, ("threads=1:lookahead-threads=1", x264)))
    options = {"crf": str(crf), "preset": preset, "tune": "psnr", "x264-params": parameters}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=plan.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = plan.width, plan.height, "yuv420p"
        stream.thread_count = 1
        stream.time_base = Fraction(1, plan.fps)
        for index, image in enumerate(frames(plan, truth)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, plan.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return truth


def truth_of(plan: ClipPlan) -> ClipTruth:
    """The truth of a plan, without rendering it."""
    K = np.round(intrinsics(plan.width, plan.height, plan.horizontal_fov_deg), _POSE_DECIMALS)
    scenes, shots, first = [], [], 0
    for number, shot in enumerate(plan.shots):
        scene = _scene(shot)
        scenes.append(SceneTruth(scene.kind, scene.seed, shot.parameters, scene.texels_per_metre, scene.geometry))
        shots.append(ShotTruth(shot.name, first, number, _poses(shot, plan.fps)))
        first += shots[-1].num_frames
    overlays = (Overlay(0, shots[0].num_frames, _logo_box(plan)),) if plan.logo else ()
    return ClipTruth(float(plan.fps), plan.width, plan.height, K, tuple(scenes), tuple(shots), overlays)


def frames(plan: ClipPlan, truth: ClipTruth, only: range | None = None) -> Iterator[Uint8Array]:
    """Rendered frames, uint8 RGB [H, W, 3], as they go to the encoder; one scene's textures are held at a time.

    Args:
        plan: what to film.
        truth: of this plan.
        only: indices wanted, ascending; all by default.
    """
    current, scene = -1, None
    for index in only if only is not None else range(truth.num_frames):
        shot = truth.shot_at(index)
        if scene is None or shot.scene != current:
            current, scene = shot.scene, _scene(plan.shots[shot.scene])
        image = render_frame(scene, truth.camera(index), supersample=plan.supersample)
        if plan.lens_blur_px > 0:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), plan.lens_blur_px), np.uint8)
        image = _add_grain(image, plan, index)
        for overlay in truth.overlays:
            if overlay.first_frame <= index < overlay.first_frame + overlay.num_frames:
                x0, y0, x1, y1 = overlay.box
                image[y0:y1, x0:x1] = _draw_logo(plan.logo, x1 - x0, y1 - y0)
        yield image


def bundled_plan() -> ClipPlan:
    """The clip that comes with the package: a walk with a logo, a flight after a cut, a still camera after another."""
    walk = cameras.walk((2.0, -0.9, 1.65), speed=0.8, gaze_deg=(60.0, 3.0), swing_deg=5.0, sway=0.7)
    flight = cameras.strafe((-17.0, 3.0, 13.0), yaw_deg=0.0, pitch_deg=-42.0, speed=2.5)
    still = cameras.pan((-2.6, -0.9, 1.5), yaw_deg=24.0, pitch_deg=-10.0, deg_per_second=0.0)
    shots = (
        ShotPlan("walk", "street", 12, walk, 10.4, {"length": 36.0, "texels_per_metre": 112.0}),
        ShotPlan("flight", "terrain", 9, flight, 2.6, {"texels_per_metre": 40.0}),
        ShotPlan("still", "room", 3, still, 2.0, {"texels_per_metre": 128.0}),
    )
    return ClipPlan(shots, supersample=3, lens_blur_px=0.7, grain=0.0, logo="GIM")


def bundled_clip() -> tuple[Path, Path]:
    """Paths of the bundled mp4 and of its truth."""
    folder = Path(str(files("gim.synthetic"))) / "clip"
    return folder / "walk.mp4", folder / "walk.json"


def long_plan(
    minutes: float, *, width: int = 480, height: int = 270, fps: int = 10, shot_seconds: float = 30.0, seed: int = 0
) -> ClipPlan:
    """A clip of any length whose content never repeats: every shot is another world; cheap to render.

    Args:
        minutes: length.
        width: pixels.
        height: pixels.
        fps: frames a second.
        shot_seconds: length of a shot; the last may be shorter.
        seed: another seed, other worlds.
    """
    shots, left, number = [], minutes * 60.0, 0
    while left > 0.5 / fps:
        duration = min(shot_seconds, left)
        shots.append(_long_shot(seed, number, duration))
        left, number = left - duration, number + 1
    return ClipPlan(tuple(shots), width, height, fps, supersample=1, grain=0.5, seed=seed)


def _long_shot(seed: int, number: int, duration: float) -> ShotPlan:
    world_seed = 1000 * seed + number
    if number % 3 == 0:
        size = {"length": 1.4 * duration + 25.0, "texels_per_metre": 40.0}
        path = cameras.walk((0.0, 0.8 - 0.4 * (number % 5), 1.6), sway=0.5)
        return ShotPlan(f"walk {number}", "street", world_seed, path, duration, size)
    if number % 3 == 1:
        circle = cameras.orbit(
            (0.0, 0.0, 1.0), radius=2.2, height=0.7, start_deg=37.0 * number, deg_per_second=360 / 32
        )
        return ShotPlan(f"orbit {number}", "room", world_seed, circle, duration, {"texels_per_metre": 64.0})
    arc = cameras.fly((-15.0, -15.0, 12.0), pitch_deg=-45.0, speed=2.0, turn_deg_per_second=3.0)
    return ShotPlan(f"flight {number}", "terrain", world_seed, arc, duration, {"texels_per_metre": 16.0})


def _scene(shot: ShotPlan) -> Scene:
    return generate(shot.kind, shot.seed, **shot.parameters)


def _poses(shot: ShotPlan, fps: int) -> Float64Array:
    num_frames = max(1, round(shot.duration_seconds * fps))
    poses = np.stack([shot.path(index / fps) for index in range(num_frames)])
    return np.asarray(np.round(poses, _POSE_DECIMALS) + 0.0, np.float64)


def _add_grain(image: Uint8Array, plan: ClipPlan, index: int) -> Uint8Array:
    if plan.grain <= 0:
        return image
    rng = np.random.default_rng([plan.seed, index])
    noise = rng.standard_normal(image.shape[:2], np.float32)[..., None] * np.float32(plan.grain)
    return np.clip(image + noise + np.float32(0.5), 0, 255).astype(np.uint8)


def _logo_box(plan: ClipPlan) -> tuple[int, int, int, int]:
    width, height = plan.width * 13 // 100, plan.height * 9 // 100
    margin = plan.height // 30
    return plan.width - margin - width, margin, plan.width - margin, margin + height


def _draw_logo(words: str, width: int, height: int) -> Uint8Array:
    fine = 4
    canvas = Canvas(
        np.zeros((fine * height, fine * width, 3), np.uint8), float(fine * height), np.random.default_rng(0)
    )
    canvas.image[:] = (18, 32, 58)
    canvas.ellipse(0.5, 0.5, 0.34, 0.34, (240, 170, 40))
    canvas.ellipse(0.58, 0.44, 0.2, 0.2, (18, 32, 58))
    canvas.text(words, 1.0, 0.24, canvas.width - 0.18, 0.78, (245, 245, 245))
    return shrink(canvas.image, width, height)
