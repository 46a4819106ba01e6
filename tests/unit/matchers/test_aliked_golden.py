"""ALIKED with its real weights against what kornia's class found with them (the original needs a CUDA build)."""

from functools import partial

import numpy as np
import pytest

from gim.matchers.registry import load_matcher
from tests.unit.matchers.keypoint_golden import check_features, in_golden_order
from tests.unit.matchers.two_pass_golden import images_of, stored

pytestmark = pytest.mark.shared

NUM_MATCHES = {"n16": 234, "t16": 237}


@pytest.fixture(scope="module", params=NUM_MATCHES)
def size(request):
    pytest.importorskip("kornia")
    return request.param


@pytest.fixture(scope="module")
def golden(shared_data):
    return stored(shared_data / "golden/real_aliked")


@pytest.fixture(scope="module")
def matcher(size, shared_data):
    file = shared_data / f"weights/permissive/aliked-{size}.pth"
    return load_matcher("aliked_mnn", {"aliked_weights": str(file), "max_keypoints": 500})


@pytest.fixture(scope="module")
def features(matcher, size, golden, shared_data):
    """Of both images, in the order of the golden vectors."""
    found = matcher.extract_batch(images_of(shared_data), [None, None])
    return tuple(in_golden_order(found[side], golden[f"aliked_{size}_keypoints{side}"]) for side in (0, 1))


@pytest.mark.parametrize("side", [0, 1])
def test_features_equal_the_golden_ones(features, side, size, golden, record_parity):
    record = partial(record_parity, "real_aliked")
    check_features(features[side], golden, record, prefix=f"aliked_{size}_", side=side)


def test_matches_equal_the_golden_ones(matcher, features, size, golden, record_parity):
    ((matches, confidence),) = matcher.match_features_batch([features])
    expected = golden[f"aliked_{size}_mnn_matches"]
    assert len(expected) == NUM_MATCHES[size]
    np.testing.assert_array_equal(matches, expected)
    cosine = [
        np.sum(golden[f"aliked_{size}_descriptors0"][i] * golden[f"aliked_{size}_descriptors1"][j]) for i, j in expected
    ]
    record_parity("real_aliked", f"cosine of aliked_{size}_mnn_matches", np.abs(confidence - cosine).max(), 1e-3)
