"""How fast the exact matching is, and which SIFT settings are worth their time.

    python bench/matching.py [--data ../shared/data] [--every 4]

The first table times `match_mutual` on descriptors of the bundled clip against the bare product of all of them, the
same without bounds, naive numpy and OpenCV's brute-force matcher, one thread each; the second times Python threads that
match different pairs; the third judges settings on pairs of known geometry ("right": within 1 px; "kept": after the
robust fit). OPENBLAS_CORETYPE=Haswell or SkylakeX chooses the kernels; `gim` itself prefers the wider ones.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
from posed import KnownPair, known_pairs
from threadpoolctl import threadpool_limits

from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.matchers.nearest.mutual import match_all, match_mutual
from gim.matchers.rootsift import RootSift, RootSiftConfig, hellinger
from gim.records import Float32Array
from gim.synthetic.clip import bundled_clip

_RATIO = 0.8
_SETTINGS = (
    RootSiftConfig(),
    RootSiftConfig(contrast_threshold=1e-5),
    RootSiftConfig(contrast_threshold=0.02),
    RootSiftConfig(contrast_threshold=0.04),
    RootSiftConfig(max_keypoints=4096),
    RootSiftConfig(max_keypoints=2048),
    RootSiftConfig(ratio=0.75),
    RootSiftConfig(ratio=0.9),
    RootSiftConfig(max_keypoints=32_400, contrast_threshold=1e-5),  # the original
)


def bare_product(descriptors0: Float32Array, descriptors1: Float32Array) -> None:
    """The blocked matrix product alone."""
    buffer = np.empty((256, len(descriptors1)), np.float32)
    for start in range(0, len(descriptors0), 256):
        rows = descriptors0[start : start + 256]
        np.matmul(rows, descriptors1.T, out=buffer[: len(rows)])


def match_all_products(descriptors0: Float32Array, descriptors1: Float32Array) -> None:
    """Ours without bounds."""
    match_all(descriptors0, descriptors1, _RATIO, 256)


def match_naively(descriptors0: Float32Array, descriptors1: Float32Array) -> int:
    """The whole matrix at once, sorted by partition."""
    similarity = descriptors0 @ descriptors1.T
    nearest = similarity.argmax(axis=1)
    best_two = np.partition(similarity, -2, axis=1)[:, -2:]
    distance = np.sqrt(np.maximum(2 - 2 * best_two, 0))
    is_mutual = similarity.argmax(axis=0)[nearest] == np.arange(len(nearest))
    return int(np.count_nonzero(is_mutual & (distance[:, 1] < _RATIO * distance[:, 0])))


def match_by_opencv(descriptors0: Float32Array, descriptors1: Float32Array) -> int:
    """Two nearest for the ratio, and the way back for mutuality."""
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {match.queryIdx: match.trainIdx for match in matcher.match(descriptors1, descriptors0)}
    pairs = matcher.knnMatch(descriptors0, descriptors1, k=2)
    return sum(
        first.distance < _RATIO * second.distance and back[first.trainIdx] == first.queryIdx for first, second in pairs
    )


def descriptor_pool(first_frame: int) -> Float32Array:
    """Descriptors of some frames of the bundled clip, weak ones too."""
    detector = RootSift(RootSiftConfig(max_keypoints=32_400, contrast_threshold=1e-3))
    with av.open(str(bundled_clip()[0])) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return hellinger(np.vstack([detector.extract(frame).descriptors for frame in frames[first_frame::100]]))


def some_of(rng: np.random.Generator, pool: Float32Array, num: int) -> Float32Array:
    """That many rows."""
    return pool[rng.choice(len(pool), num, replace=False)]


def best_seconds(
    function: Callable[[], object], repeats: int = 3, clock: Callable[[], float] = time.thread_time
) -> float:
    """Shortest of a few runs; by default processor time of this thread, which other work disturbs least."""
    times = []
    for _ in range(repeats):
        started = clock()
        function()
        times.append(clock() - started)
    return min(times)


def table_of_speed(pools: tuple[Float32Array, Float32Array], sizes: Sequence[int]) -> None:
    """Against the alternatives, one thread."""
    rng = np.random.default_rng(0)
    heads = (("N = M", 8), ("ours ms", 10), ("/ bare product", 15), ("all / ours", 11), ("naive / ours", 13))
    print("".join(f"{head:>{width}}" for head, width in (*heads, ("OpenCV / ours", 14))))
    for num in sizes:
        descriptors0, descriptors1 = (some_of(rng, pool, num) for pool in pools)
        with threadpool_limits(1):
            ours, bare, without, naive, opencv = (
                best_seconds(lambda f=function, a=descriptors0, b=descriptors1: f(a, b), repeats)
                for function, repeats in (
                    (match_mutual, 5), (bare_product, 5), (match_all_products, 5), (match_naively, 1),
                    (match_by_opencv, 1),
                )
            )  # fmt: skip
        print(
            f"{num:8}{ours * 1e3:10.1f}{ours / bare:15.2f}{without / ours:11.2f}"
            f"{naive / ours:13.1f}{opencv / ours:14.1f}",
            flush=True,
        )


def table_of_threads(pools: tuple[Float32Array, Float32Array]) -> None:
    """Python threads over pairs, BLAS pinned to one thread."""
    rng = np.random.default_rng(0)
    pairs = [tuple(some_of(rng, pool, 6000) for pool in pools) for _ in range(8)]
    with threadpool_limits(1):
        seconds = {}
        for threads in (1, 2):
            with ThreadPoolExecutor(threads) as pool:
                seconds[threads] = best_seconds(
                    lambda pool=pool: list(pool.map(lambda pair: match_mutual(*pair), pairs)), clock=time.perf_counter
                )
    print(f"\n8 pairs of 6,000: two threads are {seconds[1] / seconds[2]:.2f} times as fast as one")


def judge(config: RootSiftConfig, pairs: Sequence[KnownPair]) -> str:
    """One row of the table of settings: means over pairs."""
    matcher = RootSift(config)
    rows = []
    for pair in pairs:
        started = time.thread_time()
        features0, features1 = matcher.extract(pair.image0), matcher.extract(pair.image1)
        extracted = time.thread_time()
        matches, _ = matcher.match_features(features0, features1)
        matched = time.thread_time()
        points = np.hstack([features0.keypoints[matches[:, 0]], features1.keypoints[matches[:, 1]]])
        distance = pair.distance_px(points)
        fit = fit_fundamental(points, RobustFitConfig()) if pair.F01 is not None else None
        kept = distance[fit.inliers] if fit else distance
        rows.append(
            (
                len(features0.keypoints),
                (extracted - started) * 500,
                (matched - extracted) * 1000,
                len(points),
                np.count_nonzero(distance < 1),
                len(kept),
                np.mean(kept < 2) if len(kept) else 0.0,
            )
        )
    keypoints, extract, match, num, right, kept, near = (statistics.fmean(column) for column in zip(*rows, strict=True))
    return f"{keypoints:10.0f} {extract:10.0f} {match:8.0f} {num:8.0f} {right:7.0f} {kept:7.0f} {near:11.3f}"


def table_of_settings(data: Path, every: int) -> None:
    """Keypoints, contrast and ratio on pairs of known geometry."""
    pairs = list(known_pairs(data, every=every))
    print(f"\n{len(pairs)} pairs of known geometry, means")
    print(f"{'max, contrast, ratio':24}{'keypoints':>10} {'ms a frame':>10} {'ms pair':>8} {'matches':>8}", end=" ")
    print(f"{'right':>7} {'kept':>7} {'kept < 2 px':>11}")
    with threadpool_limits(1):
        for config in _SETTINGS:
            name = f"{config.max_keypoints}, {config.contrast_threshold:g}, {config.ratio:g}"
            print(f"{name:24}{judge(config, pairs)}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--every", type=int, default=4, help="use every n-th pair")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 4096, 8192])
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    pools = descriptor_pool(0), descriptor_pool(10)
    table_of_speed(pools, arguments.sizes)
    table_of_threads(pools)
    if arguments.data.is_dir():
        table_of_settings(arguments.data, arguments.every)


if __name__ == "__main__":
    main()
