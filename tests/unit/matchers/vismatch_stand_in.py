"""Stands in for the package vismatch 1.4: its public names, and the checks that its `BaseMatcher` makes.

The real one pins a kornia older than ours, so that both cannot be installed together. A test copies this file to
`vismatch/__init__.py` in a folder on `sys.path`.
"""

import cv2
import numpy as np
import torch

available_models = [
    "sift-nn",
    "superpoint-lightglue",
    "unruly",
    "sampling",
    "picky",
    "greedy",
    "broken",
    "away",
]


class BaseMatcher(torch.nn.Module):
    """Takes images (3, H, W) in [0, 1], drops what lies outside, fits a homography unless `skip_ransac`."""

    def __init__(self, device="cpu", max_num_keypoints=2048):
        super().__init__()
        self.device = device
        self.max_num_keypoints = max_num_keypoints
        self.skip_ransac = False

    @torch.inference_mode()
    def forward(self, img0, img1):
        for image in (img0, img1):
            assert image.ndim == 3
            assert image.shape[0] == 3
            assert 0 <= image.min() <= image.max() <= 1
        assert self.skip_ransac, "time spent on a homography that nobody asked for"
        matched0, matched1, confidences = self._forward(img0.to(self.device), img1.to(self.device))
        return {
            "num_inliers": 0,
            "H": None,
            "matched_kpts0": matched0,
            "matched_kpts1": matched1,
            "inlier_kpts0": np.empty((0, 2)),
            "inlier_kpts1": np.empty((0, 2)),
            "matched_confidences": confidences,
        }


class SiftNN(BaseMatcher):
    """Real matches: nearest neighbours of SIFT, by ratio."""

    def _forward(self, img0, img1):
        sift = cv2.SIFT.create(self.max_num_keypoints, enable_precise_upscale=True)
        found = []
        for image in (img0, img1):
            grey = cv2.cvtColor(image.cpu().numpy().transpose(1, 2, 0), cv2.COLOR_RGB2GRAY)
            found.append(sift.detectAndCompute(np.rint(255 * grey).astype(np.uint8), None))
        (keypoints0, descriptors0), (keypoints1, descriptors1) = found
        pairs = cv2.BFMatcher().knnMatch(descriptors0, descriptors1, k=2)
        good = [first for first, second in pairs if first.distance < 0.75 * second.distance]
        matched0 = np.array([keypoints0[match.queryIdx].pt for match in good], np.float32)
        matched1 = np.array([keypoints1[match.trainIdx].pt for match in good], np.float32)
        return matched0, matched1, None


class Unruly(BaseMatcher):
    """What models of the package have been seen to give: rows twice, far edges, no numbers, confidence above 1."""

    def _forward(self, img0, img1):
        width = img0.shape[-1]
        rows = [(5, 6), (5, 6), (width - 0.2, 3), (np.nan, 2), (40, 30), (8, 7)]
        matched0 = np.array(rows, np.float64)
        return matched0, np.tile([4.0, 4.0], (len(rows), 1)), np.array([0.1, 0.7, 0.9, 0.9, 3.0, np.nan])


class Sampling(BaseMatcher):
    """Draws from torch's own generator, as RoMa does."""

    def _forward(self, img0, img1):
        matched0 = (torch.rand(50, 2) * torch.tensor([img0.shape[2] - 1, img0.shape[1] - 1])).numpy()
        return matched0, matched0, np.linspace(0, 1, 50)


class Picky(BaseMatcher):
    def _forward(self, img0, img1):
        raise ValueError("not enough values to unpack (expected 2, got 1)\nand more")


class Greedy(BaseMatcher):
    def _forward(self, img0, img1):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


_MODELS = {"sift-nn": SiftNN, "unruly": Unruly, "sampling": Sampling, "picky": Picky, "greedy": Greedy}


def get_matcher(matcher_name="sift-lightglue", device="cpu", max_num_keypoints=2048, *args, **kwargs):
    """Prints where it does not find the weights, as the real one does."""
    print("!!! HF repo not found")  # noqa: T201 - what is to be kept out of our output
    if matcher_name == "away":
        raise ConnectionError("the weights' site does not answer")
    if matcher_name not in _MODELS:
        raise RuntimeError(f"Matcher {matcher_name} not yet supported. Available models: {available_models}")
    return _MODELS[matcher_name](device, max_num_keypoints, *args, **kwargs)
