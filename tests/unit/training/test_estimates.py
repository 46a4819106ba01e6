"""A few steps of a run, measured; the store stays as it is."""

from dataclasses import replace
from unittest import mock

import pytest

from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, CorruptObject, InvalidInput
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.training import estimates
from gim.training.config import FeatureConfig
from gim.training.distributed import Ranks
from gim.training.estimates import estimate
from gim.training.run import RunRequest
from gim.weights.config import WeightsConfig
from tests.unit.training.data.films import dataset_of
from tests.unit.training.run_small import CONFIG, Pixels, changed, small_dataset, with_held_out


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def small_network(request):
    if request.node.get_closest_marker("shared"):
        yield
        return
    with mock.patch.object(estimates, "build_trainable", side_effect=lambda *_: Pixels()):
        yield


def files_in(store):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in store.root.rglob("*")}


def test_an_estimate_is_of_the_run_and_leaves_the_store_as_it_is(store):
    config = changed(loop={"ema": 0.9}, keep={"validation_pairs": 4, "validate_every_pairs": 8, "keep_last": 2})
    request = RunRequest(store=store, dataset=with_held_out(small_dataset(store)), config=config)
    before = files_in(store)
    found = estimate(request, 6, price_per_device_hour=3.0)
    assert files_in(store) == before
    assert (found.num_measured, found.batch_size, found.num_lanes, found.num_steps) == (6, 1, 4, 8)
    assert found.num_validation_batches == 4 * 4
    assert all(seconds > 0 for name, seconds in found.seconds.shares.items() if name != "data")
    assert found.memory_bytes > 2**20
    weights = sum(parameter.numel() for parameter in Pixels().parameters())
    assert found.num_parameters == weights
    # Weights, two moments of each, the average, the published; and a few numbers more.
    assert 5 * 4 * weights < found.checkpoint_bytes < 5 * 4 * weights + 1000
    assert found.num_checkpoints == 2
    assert found.features is None
    assert found.projections[0].cost == pytest.approx(3 * found.projections[0].device_hours)


def test_what_a_run_would_not_begin_with_is_refused(store):
    dataset = small_dataset(store)
    request = RunRequest(store=store, dataset=dataset, config=CONFIG)
    with pytest.raises(ConfigError, match="without torchrun"):
        estimate(replace(request, ranks=Ranks(0, 2)))
    with pytest.raises(ConfigError, match="at least one step"):
        estimate(request, 0)
    with pytest.raises(InvalidInput, match="no pairs for training"):
        estimate(replace(request, dataset=dataset_of()))
    store.put(dataset.videos[0].shards[0].key, b"cut off")
    with pytest.raises(CorruptObject, match="7 bytes"):
        estimate(request, 1)
    assert list(store.list("checkpoints/")) == []


@pytest.mark.shared
@pytest.mark.parametrize("variants", [0, 3])
def test_features_are_found_in_the_step_or_kept_elsewhere(store, shared_data, tmp_path, variants):
    config = replace(
        changed(sample={"width": 96, "height": 64}),
        architecture="xfeat_lighterglue",
        model={
            "layers": 1,
            "width": 32,
            "extractor_weights": str(shared_data / "weights/permissive/xfeat_folded.pt"),
        },
        features=FeatureConfig(max_keypoints=64, variants=variants, cache=str(tmp_path / "kept")),
    )
    resources = ModelResources(InferenceConfig(device="cpu"), WeightsConfig(cache=str(tmp_path / "weights")))
    request = RunRequest(store=store, dataset=small_dataset(store), config=config, resources=resources)
    before = files_in(store)
    found = estimate(request, 2)
    assert files_in(store) == before
    assert not (tmp_path / "kept").exists()
    if variants:
        assert found.features is not None
        assert found.features.num_pairs == 20 * 3  # ten of each part
        assert found.features.seconds_per_pair > 0
        assert found.features.bytes_per_pair > 64 * 64 * 2  # descriptors of one image, as they are kept
    else:
        assert found.features is None
        assert found.seconds.shares["batch"] > 0.1  # where they are found
