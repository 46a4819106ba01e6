"""The plain way to label a video: a script of an afternoon, to be compared with. Imports nothing of ours.

    python bench/plain.py VIDEO [--step 6] [--blocks 0:5 100:5] [--out labels.npz]

Every base pair for itself: seek and decode both frames, SIFT on both, brute-force matching with ratio test and mutual
check, a fundamental matrix by MAGSAC with 100,000 iterations. Then labels are chained through a dictionary of pixels.
OpenCV may use all its threads. Prints one JSON object: pairs, and wall and processor seconds of the work itself.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

MIN_LINKS = 64


def read_frame(capture, index):
    capture.set(cv2.CAP_PROP_POS_FRAMES, index)
    has_frame, image = capture.read()
    if not has_frame:
        raise SystemExit(f"no frame {index}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def extract(grey, max_keypoints, contrast):
    sift = cv2.SIFT.create(nfeatures=max_keypoints, contrastThreshold=contrast, enable_precise_upscale=True)
    found, descriptors = sift.detectAndCompute(grey, None)
    if not found:
        return np.empty((0, 2)), np.empty((0, 128), np.float32)
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))  # RootSIFT
    return np.array([keypoint.pt for keypoint in found]), descriptors.astype(np.float32)


def match(descriptors0, descriptors1, ratio):
    if min(len(descriptors0), len(descriptors1)) < 2:
        return []
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {found.queryIdx: found.trainIdx for found in matcher.match(descriptors1, descriptors0)}
    return [
        (first.queryIdx, first.trainIdx)
        for first, second in matcher.knnMatch(descriptors0, descriptors1, k=2)
        if first.distance < ratio * second.distance and back[first.trainIdx] == first.queryIdx
    ]


def label_pair(capture, frame0, frame1, options):
    """Correspondences [N, 4] of two frames that agree with one fundamental matrix."""
    keypoints0, descriptors0 = extract(read_frame(capture, frame0), options.max_keypoints, options.contrast)
    keypoints1, descriptors1 = extract(read_frame(capture, frame1), options.max_keypoints, options.contrast)
    matches = match(descriptors0, descriptors1, options.ratio)
    if len(matches) < 8:
        return np.empty((0, 4))
    points = np.array([[*keypoints0[i], *keypoints1[j]] for i, j in matches])
    F, inliers = cv2.findFundamentalMat(
        points[:, :2], points[:, 2:], cv2.USAC_MAGSAC, options.threshold_px, options.confidence, options.iterations
    )
    return np.empty((0, 4)) if F is None else points[inliers.ravel() > 0]


def link(labels01, labels12):
    """Correspondences 0 -> 2 of those that end and begin in the same pixel of frame 1."""
    starting_at = {(round(x1), round(y1)): (x2, y2) for x1, y1, x2, y2 in labels12}
    linked = []
    for x0, y0, x1, y1 in labels01:
        end = starting_at.get((round(x1), round(y1)))
        if end is not None:
            linked.append((x0, y0, *end))
    return np.array(linked).reshape(-1, 4)


def propagate(labels, interval):
    """Chain labels, doubling the interval while anything holds; `labels` are by (first, last) sample."""
    chains = dict(labels)
    while True:
        longer = {}
        for (first, middle), chain in chains.items():
            if middle - first == interval and (middle, middle + interval) in chains:
                linked = link(chain, chains[middle, middle + interval])
                merged = np.vstack([labels.get((first, middle + interval), np.empty((0, 4))), linked])
                if len(merged) >= MIN_LINKS:
                    longer[first, middle + interval] = merged
        if not longer:
            return chains
        chains.update(longer)
        interval *= 2


def base_pairs(options, num_samples):
    """Pairs of samples within each block; without blocks, of the whole video."""
    blocks = [tuple(map(int, block.split(":"))) for block in options.blocks] or [(0, num_samples)]
    return [
        (sample, sample + interval)
        for first, length in blocks
        for sample in range(first, first + length)
        for interval in options.intervals
        if sample + interval < first + length
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--step", type=int, default=6, help="frames between samples")
    parser.add_argument("--intervals", type=int, nargs="+", default=[1, 2, 4], help="in samples")
    parser.add_argument("--blocks", nargs="*", default=[], metavar="FIRST:LENGTH", help="samples; all by default")
    parser.add_argument("--max-keypoints", type=int, default=8192)
    parser.add_argument("--contrast", type=float, default=0.01)
    parser.add_argument("--ratio", type=float, default=0.8)
    parser.add_argument("--threshold-px", type=float, default=1.0)
    parser.add_argument("--confidence", type=float, default=0.999999)
    parser.add_argument("--iterations", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="base labels as npz, one array FRAME0_FRAME1 a pair")
    options = parser.parse_args()
    capture = cv2.VideoCapture(str(options.video))
    num_samples = (int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - 1) // options.step + 1
    pairs = base_pairs(options, num_samples)
    wall, processor = time.perf_counter(), time.process_time()
    labels = {
        (first, last): label_pair(capture, first * options.step, last * options.step, options) for first, last in pairs
    }
    chains = propagate(labels, options.intervals[0])
    seconds = {"wall_seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    if options.out:
        names = {f"{first * options.step}_{last * options.step}": points for (first, last), points in labels.items()}
        np.savez(options.out, **names)
    print(json.dumps({"pairs": len(pairs), "chains": len(chains), **seconds}))


if __name__ == "__main__":
    main()
