"""Pinhole cameras with known poses, and smooth camera paths as functions of time.

World: metres, z up. Camera: x right, y down, z forward. Pixels: origin at the CENTRE of the top-left pixel.
Nothing here knows what the camera looks at.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gim.records import Float64Array

Path = Callable[[float], Float64Array]  # seconds -> T_camera_to_world [4, 4]


@dataclass(frozen=True)
class Camera:
    """One view: intrinsics K [3, 3] in pixels, pose T_camera_to_world [4, 4] in metres, image size in pixels."""

    K: Float64Array
    T_camera_to_world: Float64Array
    width: int
    height: int

    @property
    def centre(self) -> Float64Array:
        """Position of the camera in the world, float64 [3]."""
        return self.T_camera_to_world[:3, 3]

    def rays(self) -> Float64Array:
        """Matrix [3, 3] that takes a pixel (x, y, 1) to the world direction whose camera depth is 1."""
        directions: Float64Array = self.T_camera_to_world[:3, :3] @ np.linalg.inv(self.K)
        return directions

    def supersampled(self, factor: int) -> "Camera":
        """The same view with `factor` times as many pixels along each side."""
        K = self.K.copy()
        K[:2, :2] *= factor
        K[:2, 2] = (
            K[:2, 2] + 0.5
        ) * factor - 0.5  # a pixel covers [x - 0.5, x + 0.5]: its border scales, not its centre
        return replace(self, K=K, width=self.width * factor, height=self.height * factor)

    def contains(self, points: Float64Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which points [N, 2] lie on the image, bool [N]; nan lies outside."""
        inside = (points >= -0.5) & (points <= (self.width - 0.5, self.height - 0.5))
        return np.asarray(inside.all(axis=1), np.bool_)


def intrinsics(width: int, height: int, horizontal_fov_deg: float) -> Float64Array:
    """K [3, 3] of a camera with square pixels whose axis meets the middle of the image."""
    focal_px = width / 2 / math.tan(math.radians(horizontal_fov_deg) / 2)
    return np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]], np.float64)


def look_at(centre: Float64Array, target: Float64Array, *, roll_deg: float = 0.0) -> Float64Array:
    """T_camera_to_world [4, 4] of a camera at `centre` that sees `target` in the middle, upright before the roll."""
    forward = np.asarray(target, np.float64) - centre
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    pose = np.eye(4)
    pose[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    pose[:3, 3] = centre
    return pose


def heading(yaw_deg: float, pitch_deg: float = 0.0) -> Float64Array:
    """Unit direction [3]: yaw from +x towards +y, pitch up."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    return np.array([math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch)])


def walk(
    start: tuple[float, float, float],
    *,
    yaw_deg: float = 0.0,
    speed: float = 1.4,
    gaze_deg: tuple[float, float] = (0.0, 0.0),
    swing_deg: float = 8.0,
    swing_seconds: float = 7.0,
    sway: float = 1.0,
) -> Path:
    """A person who walks straight on and films by hand.

    Args:
        start: position at time 0, metres; its z is the height of the eyes.
        yaw_deg: direction of the walk.
        speed: metres per second.
        gaze_deg: yaw and pitch of the view, relative to the walk.
        swing_deg: how far the view swings slowly to both sides, with period `swing_seconds`.
        swing_seconds: see above.
        sway: strength of the bobbing and rolling of every step; 0 for a rail.
    """

    def pose(seconds: float) -> Float64Array:
        stride = 2 * math.pi * 0.9 * seconds  # 1.8 steps a second
        aside = heading(yaw_deg + 90.0)
        position = np.asarray(start) + speed * seconds * heading(yaw_deg)
        position = position + sway * (0.025 * math.sin(stride) * aside + (0.0, 0.0, 0.018 * math.sin(2 * stride)))
        swing = swing_deg * math.sin(2 * math.pi * seconds / swing_seconds)
        yaw = yaw_deg + gaze_deg[0] + swing + sway * 0.35 * math.sin(stride + 0.4)
        pitch = gaze_deg[1] + sway * 0.3 * math.sin(2 * stride + 1.1)
        return look_at(position, position + heading(yaw, pitch), roll_deg=sway * 0.5 * math.sin(stride))

    return pose


def orbit(
    target: tuple[float, float, float],
    *,
    radius: float,
    height: float,
    start_deg: float = 0.0,
    deg_per_second: float = 10.0,
) -> Path:
    """A circle around `target` at `height` metres above it, always looking at it."""

    def pose(seconds: float) -> Float64Array:
        around = heading(start_deg + deg_per_second * seconds)
        return look_at(np.asarray(target) + radius * around + (0.0, 0.0, height), np.asarray(target))

    return pose


def strafe(
    start: tuple[float, float, float], *, yaw_deg: float = 0.0, pitch_deg: float = 0.0, speed: float = 1.0
) -> Path:
    """Sideways to the right at `speed` metres per second; the direction of the view stays."""

    def pose(seconds: float) -> Float64Array:
        position = np.asarray(start) + speed * seconds * heading(yaw_deg - 90.0)
        return look_at(position, position + heading(yaw_deg, pitch_deg))

    return pose


def pan(
    centre: tuple[float, float, float], *, yaw_deg: float = 0.0, pitch_deg: float = 0.0, deg_per_second: float = 15.0
) -> Path:
    """A camera on a tripod that turns to the left: no parallax. With 0 degrees per second it is a still camera."""

    def pose(seconds: float) -> Float64Array:
        direction = heading(yaw_deg + deg_per_second * seconds, pitch_deg)
        return look_at(np.asarray(centre), np.asarray(centre) + direction)

    return pose


def fly(
    start: tuple[float, float, float],
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = -50.0,
    speed: float = 6.0,
    climb: float = 0.0,
    turn_deg_per_second: float = 0.0,
) -> Path:
    """A drone: forward over the ground along a straight line or, when it turns, an arc."""

    def pose(seconds: float) -> Float64Array:
        turned = turn_deg_per_second * seconds
        half = math.radians(turned / 2)
        chord = speed * seconds * (math.sin(half) / half if half else 1.0)  # an arc's chord points half the turn aside
        position = np.asarray(start) + chord * heading(yaw_deg + turned / 2) + (0.0, 0.0, climb * seconds)
        return look_at(position, position + heading(yaw_deg + turned, pitch_deg))

    return pose


def back_and_forth(path: Path, period_seconds: float) -> Path:
    """Run `path` forward for half of every period and back for the other half, easing at the turns."""

    def pose(seconds: float) -> Float64Array:
        phase = seconds % period_seconds / period_seconds
        return path(period_seconds / 2 * (0.5 - 0.5 * math.cos(2 * math.pi * phase)))

    return pose
