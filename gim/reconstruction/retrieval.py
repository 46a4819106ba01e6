"""Images that look alike, with nothing to download: VLAD over RootSIFT, its words learnt on the images themselves.

Jégou et al., CVPR 2010, with the normalisation inside each word of Arandjelovic and Zisserman, CVPR 2013. Learnt words
are needed by sets of any size, and a vocabulary of the images at hand fits them best (same paper, Sec. 4).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gim.geometry.colour import to_grey
from gim.geometry.pixels import network_size, resize_image, resize_mask
from gim.matchers.rootsift import RootSift, RootSiftConfig, hellinger
from gim.reconstruction.pairs import Pair
from gim.records import Float32Array, Uint8Array

_NUM_WORDS = 64
_MAX_SIDE_PX = 640  # looks need no detail
_MAX_KEYPOINTS = 1000
_MAX_LEARNT_FROM = 50_000  # descriptors
_ROUNDS = 20


def describe_looks(image: Uint8Array, mask: Uint8Array | None) -> Uint8Array:
    """SIFT descriptors uint8 [N, 128] of an image made small; what `similar_pairs` compares images by."""
    size = network_size(image.shape[1], image.shape[0], max_side_px=_MAX_SIDE_PX)
    small, _ = resize_image(to_grey(image), size)
    extractor = RootSift(RootSiftConfig(max_keypoints=_MAX_KEYPOINTS))
    return np.asarray(extractor.extract(small, None if mask is None else resize_mask(mask, size)).descriptors, np.uint8)


def similar_pairs(looks: Sequence[Uint8Array], num_similar: int, *, seed: int) -> list[Pair]:
    """Each image with the `num_similar` most like it, ascending, once for both.

    Args:
        looks: descriptors uint8 [N, 128] of each image.
        num_similar: of each; an image without descriptors is like none.
        seed: of the words.
    """
    vectors = vlad(looks, seed=seed)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    # Images without descriptors have zero vectors, which are orthogonal to all.
    is_empty = ~vectors.any(axis=1)
    similarity[is_empty] = similarity[:, is_empty] = -np.inf
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :num_similar]
    pairs = ((row, int(column)) for row, columns in enumerate(best) for column in columns)
    return sorted({(min(pair), max(pair)) for pair in pairs if np.isfinite(similarity[pair])})


def vlad(looks: Sequence[Uint8Array], *, seed: int) -> npt.NDArray[np.float32]:
    """One vector of unit length, float32 [images, words * 128], for each image; zero where it has no descriptors."""
    descriptors = [hellinger(look) for look in looks]
    words = _learn_words(np.vstack(descriptors), np.random.default_rng(seed))
    return np.stack([_aggregated(rows, words) for rows in descriptors])


def _learn_words(rows: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Centres [K, 128] of k-means by Lloyd's rounds from random descriptors."""
    if len(rows) > _MAX_LEARNT_FROM:
        rows = rows[np.sort(rng.choice(len(rows), _MAX_LEARNT_FROM, replace=False))]
    words = rows[np.sort(rng.choice(len(rows), min(_NUM_WORDS, len(rows)), replace=False))].copy()
    if len(words) == 0:
        return np.zeros((1, 128), np.float32)
    for _ in range(_ROUNDS):
        nearest = _nearest_word(rows, words)
        order = np.argsort(nearest, kind="stable")
        counts = np.bincount(nearest, minlength=len(words))
        is_used = counts > 0  # an empty word stays where it is
        starts = np.cumsum(counts) - counts
        sums = np.add.reduceat(rows[order], starts[is_used], axis=0)
        words[is_used] = sums / counts[is_used, None]
    return words


def _nearest_word(rows: Float32Array, words: Float32Array) -> npt.NDArray[np.int64]:
    return np.asarray(np.argmax(rows @ words.T - 0.5 * np.square(words).sum(axis=1), axis=1), np.int64)


def _aggregated(rows: Float32Array, words: Float32Array) -> Float32Array:
    residuals = np.zeros_like(words)
    if len(rows):
        nearest = _nearest_word(rows, words)
        np.add.at(residuals, nearest, rows - words[nearest])
        residuals /= np.maximum(np.linalg.norm(residuals, axis=1, keepdims=True), 1e-12)
    vector = residuals.ravel()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
