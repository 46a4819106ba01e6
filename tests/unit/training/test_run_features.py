"""Runs of the small LighterGlue on real XFeat features, found anew in every step or kept on disk."""

from dataclasses import replace
from unittest import mock

import cv2
import numpy as np
import pytest

from gim.adapters.store_file import FileStore
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.training.checkpoints.reading import load
from gim.training.checkpoints.state import flatten_state
from gim.training.config import FeatureConfig
from gim.training.run import RunRequest, train
from gim.weights.config import WeightsConfig
from tests.unit.training.data import films
from tests.unit.training.run_small import Heard, changed, small_dataset

pytestmark = pytest.mark.shared

_NUM_STEPS = 4


def texture(size, shift=(0.0, 0.0)):
    """Spots, of which XFeat finds some; moved by whole pixels."""
    spots = np.random.default_rng(0).integers(0, 256, (size[1] // 4 + 8, size[0] // 4 + 8, 3)).astype(np.uint8)
    large = cv2.resize(spots, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    left, top = 16 - int(shift[0]), 16 - int(shift[1])
    return large[top : top + size[1], left : left + size[0]].copy()


@pytest.fixture(scope="module")
def films_store(tmp_path_factory):
    store = FileStore(tmp_path_factory.mktemp("films") / "store")
    with mock.patch.object(films, "ramp", texture):
        return store, small_dataset(store, shards=(2,), size=(192, 128), num_labels=60)


@pytest.fixture
def run(films_store, shared_data, tmp_path):
    """Trains under a name, up to a step."""
    store, dataset = films_store
    resources = ModelResources(InferenceConfig(device="cpu"), WeightsConfig(cache=str(tmp_path / "weights")))
    config = replace(
        changed(
            sample={"width": 192, "height": 128},
            schedule={"pairs": 4 * _NUM_STEPS},
            loop={"batch_size": 2, "canonical_batch": 4},
            keep={"every_pairs": 8},
        ),
        architecture="xfeat_lighterglue",
        model={
            "layers": 2,
            "width": 32,
            "extractor_weights": str(shared_data / "weights/permissive/xfeat_folded.pt"),
        },
    )

    def train_to(name, until=0, *, variants=0, cache="kept", ema=0.0, is_stopped_early=False):
        heard, told = Heard(), {}
        request = RunRequest(
            store=store,
            dataset=dataset,
            config=replace(
                config,
                features=FeatureConfig(max_keypoints=64, variants=variants, cache=str(tmp_path / cache)),
                loop=replace(config.loop, ema=ema),
            ),
            resources=resources,
            run_id=name,
            is_resumed=True,
            on_point=heard.points.append,
            say=heard.lines.append,
            on_prepared=lambda done, total: told.update(done=done, total=total),
            is_told_to_stop=lambda: is_stopped_early or (bool(until) and max(heard.losses, default=0) >= until),
        )
        result = train(request)
        return result, heard.losses, told

    return train_to


def last_weights(store, run_id):
    return flatten_state(load(store, run_id, _NUM_STEPS).state).tensors


@pytest.mark.parametrize("variants", [0, 2])
def test_a_stopped_run_goes_on_with_the_same_losses(films_store, run, variants):
    name = f"v{variants}"
    result, whole, told = run(f"{name}-whole", variants=variants, ema=0.9)
    assert (result.ended, len(whole), result.skipped) == ("finished", _NUM_STEPS, {})
    assert all(loss > 0 for loss in whole.values())
    assert told == ({"done": 16, "total": 16} if variants else {})  # 4 pairs of each part, twice
    _, found, _ = run(name, 1, variants=variants, ema=0.9)
    # Another machine has kept nothing, and finds the same.
    for until in (3, 0):
        result, losses, _ = run(name, until, variants=variants, cache="elsewhere", ema=0.9)
        found |= losses
    assert result.ended == "finished"
    assert found == pytest.approx(whole, abs=1e-6)
    store, _ = films_store
    first, second = (last_weights(store, run_id) for run_id in (f"{name}-whole", name))
    assert first.keys() == second.keys()
    assert max(float((first[key].double() - second[key].double()).abs().max()) for key in first) < 1e-6


def test_a_folder_that_cannot_be_written_makes_a_run_slow_and_not_another(run):
    _, kept, _ = run("kept", variants=1)
    _, full, _ = run("full", variants=1, cache="/proc/cannot-be-written")
    # Of eight pairs together or of one by itself: a network adds up in another order.
    assert kept == pytest.approx(full, rel=1e-4)


def test_a_run_that_is_told_to_stop_while_features_are_made_ends_and_goes_on(run):
    result, losses, told = run("early", variants=1, is_stopped_early=True)
    assert (result.ended, result.step, losses) == ("stopped", 0, {})
    assert told["done"] < told["total"]
    result, losses, told = run("early", variants=1)
    assert (result.ended, len(losses), told["done"]) == ("finished", _NUM_STEPS, told["total"])
