"""The pairs of a step, made again, are those that the run was trained on: to the pixel, from wherever it starts."""

from dataclasses import replace

import numpy as np
import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput
from gim.training.augment.config import SYNTHETIC, augment_recipe
from gim.training.data.opening import OpenedPart, open_parts
from gim.training.data.stream import MicroBatches
from gim.training.features.cache import FeatureCache
from gim.training.features.part import FeaturePart
from gim.training.looking.batches import BatchRequest, batches_of_step
from gim.training.looking.runs import record_of
from tests.unit.training.features.fakes import fake_extractor
from tests.unit.training.looking import runs
from tests.unit.training.run_small import CONFIG, changed, small_dataset, train_small

LANES, NUM_STEPS = 4, 8


class Watched:
    """A finished run, and all that its network was given, in order."""

    def __init__(self, folder, config=CONFIG):
        self.store = FileStore(folder / "store")
        self.seen = []
        dataset = runs.put_dataset(self.store, small_dataset(self.store))
        result, self.heard = train_small(
            self.store, dataset, config, is_bad=lambda batch: self.seen.append(batch) or False
        )
        self.record = record_of(self.store, result.run_id)

    def at(self, step, lane):
        return self.seen[(step - 1) * LANES + lane]

    def request(self, step, lane=None, **options):
        return BatchRequest(self.store, self.record, step, lane, **options)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    return Watched(tmp_path_factory.mktemp("watched"))


def assert_same(found, batch):
    """A micro-batch made again, and what the network was given."""
    assert (found.part, tuple(sample.name for sample in found.samples)) == (batch.part, batch.names)
    for row, sample in enumerate(found.samples):
        for name in ("image0", "image1"):
            given = getattr(batch, f"images{name[-1]}")[row].mul(255).round().byte().permute(1, 2, 0).numpy()
            assert np.array_equal(getattr(sample, name), given)
        for name in ("valid0", "valid1"):
            assert np.array_equal(getattr(sample, name), getattr(batch, name)[row].numpy())


@pytest.mark.parametrize("step", [1, 4, 5, 8])
def test_all_lanes_of_a_step_are_what_the_network_was_given(watched, step):
    said = []
    found = batches_of_step(watched.request(step, say=said.append))
    assert [item.lane for item in found] == list(range(LANES))
    for item in found:
        assert_same(item, watched.at(step, item.lane))
    # There are checkpoints of the steps 3, 6 and 8; one of the step itself is of no use.
    nearest = max((saved for saved in (3, 6, 8) if saved < step), default=0)
    assert said == [f"making {4 * (step - nearest)} pairs again, from "
                    f"{f'the checkpoint of step {nearest}' if nearest else 'the start'} on"]  # fmt: skip


def test_one_lane_alone_is_the_same(watched):
    for lane in range(LANES):
        (found,) = batches_of_step(watched.request(7, lane))
        assert found.lane == lane
        assert_same(found, watched.at(7, lane))


def test_a_checkpoint_that_is_damaged_or_gone_is_passed_over(tmp_path):
    watched, said = Watched(tmp_path), []
    watched.store.put(keys.checkpoint_state(watched.record.run_id, 6, "state.json"), b"{}")
    watched.store.delete(keys.checkpoint_manifest(watched.record.run_id, 3))
    for item in batches_of_step(watched.request(8, say=said.append)):
        assert_same(item, watched.at(8, item.lane))
    assert "checkpoint 6 is passed over" in said[0]
    assert said[1] == "making 32 pairs again, from the start on"


def test_skipped_pairs_move_a_lane_on_and_are_told(tmp_path):
    # Half of the tries leave too few labels inside.
    config = changed(sample={"augment": "paper", "min_labels": 38, "max_tries": 1}, mix={"homography": 0.0})
    watched = Watched(tmp_path, config)
    assert watched.heard.losses
    found = [item for step in (2, 8) for item in batches_of_step(watched.request(step))]
    assert sum(sum(item.skipped.values()) for item in found) > 0
    assert {reason for item in found for reason in item.skipped} == {"too_few_labels"}
    for step, item in zip([2] * LANES + [8] * LANES, found, strict=True):
        assert_same(item, watched.at(step, item.lane))


@pytest.mark.parametrize(
    ("step", "lane", "line"),
    [(0, None, "has the steps 1 to 8, and no step 0"), (9, None, "no step 9"), (1, 4, "lanes 0 to 3, and no lane 4")],
)
def test_a_step_or_lane_that_is_not_is_refused(watched, step, lane, line):
    with pytest.raises(InvalidInput, match=line):
        batches_of_step(watched.request(step, lane))


def test_a_dataset_that_is_gone_is_said(watched):
    gone = replace(watched.record, dataset_id="films-00000000")
    with pytest.raises(InvalidInput, match="films-00000000"):
        batches_of_step(BatchRequest(watched.store, gone, 1))


# --- kept features ----------------------------------------------------------------------------------------------------


def test_images_of_kept_features_are_those_that_the_extractor_saw(tmp_path):
    store = FileStore(tmp_path / "store")
    dataset = runs.put_dataset(store, small_dataset(store))
    config = changed(
        sample={"augment": "paper", "width": 64, "height": 48},
        features={"variants": 2, "cache": str(tmp_path / "kept")},
    )
    extractor = fake_extractor(max_keypoints=60)
    parts = [kept(item, extractor, config) for item in open_parts(store, dataset, config, "train")]
    with MicroBatches([item.part for item in parts], [1.0, 1.0], config, collate=tuple) as reader:
        given = [next(reader) for _ in range(NUM_STEPS * LANES)]
    record = runs.put_run(store, config=config, dataset_id=dataset.dataset_id)
    met = set()
    for step in (1, NUM_STEPS):  # of ten pairs in either part, some are given for the second time
        for item in batches_of_step(BatchRequest(store, record, step)):
            again = extractor.features(item.samples)
            seen = given[(step - 1) * LANES + item.lane]
            met.add(item.part)
            for one, other in zip(again, seen.batch, strict=True):
                assert one.name == other.name
                assert np.array_equal(one.features0.keypoints, other.features0.keypoints)
                assert np.allclose(one.features1.descriptors, other.features1.descriptors, atol=5e-4)
    assert met == {"video", "homography"}


def kept(item, extractor, config):
    """As `gim.training.features.keeping` wraps a part."""
    made_with = (config.sample, augment_recipe(config.sample.augment), SYNTHETIC)
    cache = FeatureCache.of(config.features, lambda _: None)
    wrapped = FeaturePart(item.part, extractor, cache, variants=config.features.variants, made_with=made_with)
    return OpenedPart(wrapped, item.share)
