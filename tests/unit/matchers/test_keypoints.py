"""What every keypoint network is wrapped in: the strongest outside the mask, whatever stands inside it or beside it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gim.matchers.nn.keypoints import KeypointExtractor  # noqa: E402

SIDE = 64


class PlantedExtractor(KeypointExtractor):
    """Finds every fourth pixel, the stronger the further left, and says how often it was asked."""

    def __init__(self, max_keypoints):
        super().__init__(torch.nn.Linear(1, 1), max_keypoints=max_keypoints, max_side_px=0)
        self.asked = []

    def _detect(self, images, num):
        self.asked.append(num)
        y, x = torch.meshgrid(torch.arange(0, SIDE, 4), torch.arange(0, SIDE, 4), indexing="ij")
        places = torch.stack([x.ravel(), y.ravel()], 1).float()
        scores = 1 / (1 + places[:, 0] * SIDE + places[:, 1])
        strongest = scores.argsort(descending=True)[:num]
        descriptors = torch.nn.functional.one_hot(strongest % 8, 8).float()
        return [(places[strongest], descriptors, scores[strongest])] * len(images)


def expected(mask, num):
    """The strongest places of the whole grid that are not masked."""
    places = [(x, y) for x in range(0, SIDE, 4) for y in range(0, SIDE, 4) if mask is None or mask[y, x]]
    return np.array(places[:num], np.float32)


def masked(columns):
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[:, :columns] = 0
    return mask


@pytest.mark.parametrize("columns", [0, 8, 32, 60])
def test_extract_when_the_mask_takes_the_strongest_finds_the_next(columns):
    extractor, mask = PlantedExtractor(12), masked(columns)
    (features,) = extractor.extract([(np.zeros((SIDE, SIDE), np.uint8), mask)])
    np.testing.assert_array_equal(features.keypoints, expected(mask, 12))
    assert len(features.descriptors) == len(features.scores) == 12


def test_extract_when_nothing_is_masked_asks_once_for_no_more_than_it_keeps():
    extractor = PlantedExtractor(12)
    extractor.extract([(np.zeros((SIDE, SIDE), np.uint8), None)] * 2)
    assert extractor.asked == [12]


def test_extract_when_the_image_has_too_few_gives_all_and_stops():
    extractor, mask = PlantedExtractor(500), masked(60)
    (features,) = extractor.extract([(np.zeros((SIDE, SIDE), np.uint8), mask)])
    np.testing.assert_array_equal(features.keypoints, expected(mask, 500))
    assert len(extractor.asked) == 1


def test_extract_of_a_batch_is_extract_of_each():
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    items = [(image, None), (image, masked(60)), (image, masked(20))]
    together = PlantedExtractor(12).extract(items)
    for item, found in zip(items, together, strict=True):
        (alone,) = PlantedExtractor(12).extract([item])
        np.testing.assert_array_equal(found.keypoints, alone.keypoints)
        np.testing.assert_array_equal(found.scores, alone.scores)
