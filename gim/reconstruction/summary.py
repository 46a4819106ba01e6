"""What came of a reconstruction, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReconstructionSummary:
    """The largest model and how it was made; `summary.json`. Only `seconds` differ from run to run."""

    images: int
    registered: int
    not_registered: list[str]
    models: int  # that share no image; the largest is written
    points: int
    observations: int
    mean_track_length: float
    mean_observations_per_image: float
    mean_reprojection_error_px: float
    keypoints: int  # that some pair matched
    pairs: int
    pairs_verified: int
    matches: int
    matches_verified: int
    cameras: list[str]  # of the model: COLMAP's name and parameters, pixels
    matcher: str
    matcher_id: str  # name and hash of settings and weights
    mapper: str
    pycolmap: str  # version
    seed: int
    threads: int
    seconds: dict[str, float]  # by step

    def rows(self) -> list[dict[str, Any]]:
        """The table for people."""
        cameras = self.cameras if len(self.cameras) <= 3 else [f"{len(self.cameras)} cameras"]
        values: Mapping[str, Any] = {
            "registered": f"{self.registered} of {self.images} images" + _others(self.models),
            "points": self.points,
            "track length": f"{self.mean_track_length:.2f} images per point",
            "observations": f"{self.observations}, {self.mean_observations_per_image:.0f} per image",
            "reprojection error": f"{self.mean_reprojection_error_px:.3f} px",
            "pairs": f"{self.pairs_verified} of {self.pairs} verified",
            "matches": f"{self.matches_verified} of {self.matches} verified",
            "cameras": "; ".join(cameras),
            "matcher": self.matcher_id,
            "mapper": f"{self.mapper}, pycolmap {self.pycolmap}, seed {self.seed}, threads {self.threads}",
            "seconds": ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.seconds.items()),
        }
        return [{"reconstruction": name, "": value} for name, value in values.items()]


def _others(num_models: int) -> str:
    plural = "s" if num_models > 2 else ""
    return f"; {num_models - 1} smaller model{plural} left out" if num_models > 1 else ""


def numbers_of(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """What a summary says of a pycolmap model, whose images are among `names`."""
    registered = {image.name for image in model.images.values() if image.has_pose}
    used = {model.images[index].camera_id for index in model.reg_image_ids()}
    return {
        "images": len(names),
        "registered": len(registered),
        "not_registered": [name for name in names if name not in registered],
        "points": model.num_points3D(),
        "observations": model.compute_num_observations(),
        "mean_track_length": round(model.compute_mean_track_length(), 4),
        "mean_observations_per_image": round(model.compute_mean_observations_per_reg_image(), 2),
        "mean_reprojection_error_px": round(model.compute_mean_reprojection_error(), 4),
        "cameras": [_camera_text(model.cameras[index]) for index in sorted(used)],
    }


def _camera_text(camera: Any) -> str:
    return f"{camera.model_name} {','.join(f'{value:.6g}' for value in camera.params)}"
