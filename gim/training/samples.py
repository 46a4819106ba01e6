"""What a matcher is trained on: two images and what is known of how their pixels correspond. Imports no torch.

Positions are pixels of the images in the sample, origin at the centre of the top-left pixel. Augmentation moves images
and truth by the same homography, so the truth stays exact however often a sample is warped.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gim.geometry.homography import apply_homography
from gim.records import BoolArray, Features, Float32Array, Float64Array, Uint8Array


@dataclass(frozen=True, slots=True)
class Labels:
    """Correspondences at some pixels; nothing is known of all others. The truth of video pairs and of COLMAP points."""

    points: Float32Array  # [N, 4] rows (x0, y0, x1, y1)

    def warped(self, A0: npt.ArrayLike, A1: npt.ArrayLike) -> "Labels":
        """After each image was mapped by a homography."""
        moved = [apply_homography(self.points[:, :2], A0), apply_homography(self.points[:, 2:], A1)]
        return Labels(np.hstack(moved).astype(np.float32))

    def limited(self, most: int, rng: np.random.Generator) -> "Labels":
        """At most so many of them, drawn at random, in their order."""
        if len(self.points) <= most:
            return self
        return Labels(self.points[np.sort(rng.choice(len(self.points), most, replace=False))])


@dataclass(frozen=True, slots=True)
class Homography:
    """One plane: every pixel's place is known. The truth of synthetic pairs."""

    H01: Float64Array  # [3, 3], x1 ~ H01 x0

    def warped(self, A0: npt.ArrayLike, A1: npt.ArrayLike) -> "Homography":
        """After each image was mapped by a homography."""
        return Homography(np.asarray(A1, np.float64) @ self.H01 @ np.linalg.inv(np.asarray(A0, np.float64)))


@dataclass(frozen=True, slots=True)
class DepthView:
    """One posed image with depth, as it was recorded, and how the sample's image was made of it."""

    depth: Float32Array  # [h, w] along the optical axis, in units of the translation; 0 = not known
    K: Float64Array  # [3, 3] of the depth map's pixels
    to_image: Float64Array  # [3, 3] homography: pixels of the depth map -> pixels of the sample's image


@dataclass(frozen=True, slots=True)
class Posed:
    """Two posed images with depth: every pixel whose depth is known has a place. The truth of MegaDepth, ScanNet."""

    view0: DepthView
    view1: DepthView
    T_0to1: Float64Array  # [4, 4], takes points of camera 0 to camera 1

    def warped(self, A0: npt.ArrayLike, A1: npt.ArrayLike) -> "Posed":
        """After each image was mapped by a homography."""
        views = [
            dataclasses.replace(view, to_image=np.asarray(A, np.float64) @ view.to_image)
            for view, A in ((self.view0, A0), (self.view1, A1))
        ]
        return Posed(views[0], views[1], self.T_0to1)


Truth = Labels | Homography | Posed


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair to train on."""

    name: str  # unique within its part: "<video or scene>/<pair>"
    part: str  # of the mixture: "video", "homography", or the name of a posed set
    image0: Uint8Array  # RGB [H, W, 3]
    image1: Uint8Array
    valid0: BoolArray  # [H, W], False where no photograph is: padding, and what a warp left empty
    valid1: BoolArray
    truth: Truth


@dataclass(frozen=True, slots=True)
class FeatureSample:
    """A sample seen through a frozen extractor: what sparse matchers are trained on."""

    name: str
    part: str
    features0: Features  # with `image_size`
    features1: Features
    truth: Truth
    # Of video pairs trained at the labelled pixels themselves: keypoint i of either image is label i, for i < this.
    num_labels: int = 0


class SampleSkipped(Exception):
    """A pair gives no sample, for a reason that is counted: `too_few_labels`, `damaged`, ..."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
