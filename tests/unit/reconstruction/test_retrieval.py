import cv2
import numpy as np

from gim.reconstruction import retrieval
from gim.reconstruction.retrieval import describe_looks, similar_pairs, vlad


def texture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (60, 80), dtype=np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise, (480, 360), interpolation=cv2.INTER_CUBIC), (0, 0), 1)


def test_views_of_one_place_are_more_alike_than_views_of_others():
    # Two views of each of four places, half of which both show.
    views = [texture(place)[:, shift : shift + 320] for place in range(4) for shift in (0, 160)]
    looks = [describe_looks(view, None) for view in views]
    assert similar_pairs(looks, 1, seed=0) == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_images_without_anything_on_them_are_like_none():
    blank = describe_looks(np.full((100, 100, 3), 9, np.uint8), None)
    assert len(blank) == 0
    looks = [describe_looks(texture(seed), None) for seed in range(3)]
    assert similar_pairs([blank, *looks, blank], 4, seed=0) == [(1, 2), (1, 3), (2, 3)]
    assert similar_pairs([blank, blank], 4, seed=0) == []


def test_what_is_masked_has_no_looks():
    image = texture(0)
    mask = np.zeros(image.shape, np.uint8)
    assert len(describe_looks(image, mask)) == 0
    mask[:, 430:] = 255
    assert 0 < len(describe_looks(image, mask)) < len(describe_looks(image, None))


def test_vectors_are_residuals_to_the_nearest_words_normalised_word_by_word():
    looks = [describe_looks(texture(seed), None)[:80] for seed in range(3)]
    vectors = vlad(looks, seed=3)
    rows = [retrieval.hellinger(look) for look in looks]
    words = retrieval._learn_words(np.vstack(rows), np.random.default_rng(3))
    slow = np.zeros((3, len(words), 128))
    for image, descriptors in enumerate(rows):
        for descriptor in descriptors:
            nearest = np.argmin([np.sum((descriptor - word) ** 2) for word in words])
            slow[image, nearest] += descriptor - words[nearest]
        for word in range(len(words)):
            slow[image, word] /= max(np.linalg.norm(slow[image, word]), 1e-12)
        slow[image] /= np.linalg.norm(slow[image])
    np.testing.assert_allclose(vectors, slow.reshape(3, -1), atol=1e-5)


def test_words_are_means_of_what_is_nearest_to_them():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(retrieval._NUM_WORDS, 128)).astype(np.float32)
    rows = (np.repeat(centres, 20, axis=0) + rng.normal(scale=0.01, size=(20 * len(centres), 128))).astype(np.float32)
    words = retrieval._learn_words(rows, np.random.default_rng(0))
    nearest = np.argmin(((rows[:, None] - words) ** 2).sum(axis=2), axis=1)
    for word in np.unique(nearest):
        np.testing.assert_allclose(words[word], rows[nearest == word].mean(axis=0), atol=1e-4)


def test_the_same_seed_gives_the_same_pairs():
    looks = [describe_looks(texture(seed), None) for seed in range(4)]
    np.testing.assert_array_equal(vlad(looks, seed=1), vlad(looks, seed=1))
