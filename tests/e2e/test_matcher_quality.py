"""What the trained matchers promise on pairs of known geometry: claims of the accuracy bench."""

import pytest

pytest.importorskip("torch")

from bench import accuracy
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, matcher_names
from tests.matcher_files import files_of, is_trained, matcher_module

pytestmark = [pytest.mark.shared, pytest.mark.slow]

TRAINED_NETWORKS = [name for name in matcher_names() if matcher_module(name) and is_trained(name, with_shared=True)]


@pytest.mark.parametrize("name", TRAINED_NETWORKS)
def test_half_precision_costs_no_accuracy(name, tmp_path, shared_data):
    """The setting that makes networks fast leaves matches and poses as they were."""
    settings = files_of(name, tmp_path, shared_data).settings
    exact, half = (
        load_matcher(name, settings, ModelResources(InferenceConfig(device="cpu", precision=precision)))
        for precision in ("float32", "bfloat16")
    )
    # Every second pair: a processor without bfloat16 takes minutes for them. The bench scores all.
    pairs = list(accuracy.posed_pairs(shared_data / "data/posed/kitti06"))[::2]
    auc_lost, right_lost_percent = accuracy.half_precision_losses(exact, half, pairs)
    assert auc_lost <= accuracy.MOST_AUC_LOST
    assert right_lost_percent <= accuracy.MOST_RIGHT_LOST_PERCENT


@pytest.mark.parametrize("scene", accuracy.SIFT_FLOOR)
def test_rootsift_is_at_or_above_the_floor_of_sift(scene, shared_data):
    pairs = list(accuracy.posed_pairs(shared_data / "data/posed" / scene))
    scores, _ = accuracy.pose_auc(load_matcher("rootsift"), pairs)
    assert all(score >= floor for score, floor in zip(scores, accuracy.SIFT_FLOOR[scene], strict=True)), scores
