"""Files of kept features give back what was written, and never anything else."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("torch")

from gim.errors import CorruptObject, InvalidInput
from gim.training.features.kept_file import CannotKeepError, KeptFile, NoSample, write_kept
from gim.training.samples import DepthView, FeatureSample, Homography, Posed, SampleSkipped
from tests.unit.training.features.fakes import fake_extractor, sample_of


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(2)
    samples = [sample_of(f"film/{number}", rng, num_labels=5 * number) for number in range(3)]
    samples.append(dataclasses.replace(samples[0], truth=Homography(rng.normal(size=(3, 3))), part="homography"))
    samples.append(dataclasses.replace(samples[1], image0=np.zeros_like(samples[1].image0)))  # has no features
    return [*fake_extractor().features(samples), NoSample("too_few_labels", "film/9: 3 of 64")]


@pytest.fixture
def path(items, tmp_path):
    write_kept(tmp_path / "a.features", "key", items)
    return tmp_path / "a.features"


def arrays_of(sample: FeatureSample):
    truth = sample.truth.H01 if isinstance(sample.truth, Homography) else sample.truth.points
    exact = [truth]
    for features in (sample.features0, sample.features1):
        exact += [features.keypoints, features.scores]
    return exact, [sample.features0.descriptors, sample.features1.descriptors]


def check_same(ours: FeatureSample, fresh: FeatureSample):
    """All but the descriptors to the bit, those as far as half precision goes."""
    assert (ours.name, ours.part, ours.num_labels) == (fresh.name, fresh.part, fresh.num_labels)
    assert type(ours.truth) is type(fresh.truth)
    for found, expected in zip(*(arrays_of(item)[0] for item in (ours, fresh)), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(*(arrays_of(item)[1] for item in (ours, fresh)), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=3e-4)
    assert [item.image_size for item in (ours.features0, ours.features1)] == [(64, 48), (64, 48)]


def test_what_is_read_is_what_was_written(path, items):
    kept = KeptFile.open(path, "key")
    assert len(kept.pairs) == len(items)
    for index in (4, 0, 3, 1, 2):
        check_same(kept.sample(index), items[index])
    with pytest.raises(SampleSkipped, match="too_few_labels: film/9: 3 of 64") as skipped:
        kept.sample(5)
    assert skipped.value.reason == "too_few_labels"
    assert [item.name for item in path.parent.iterdir()] == ["a.features"]


def test_what_is_read_may_be_written_to(path):
    sample = KeptFile.open(path, "key").sample(1)  # torch.from_numpy refuses other arrays
    for array in [part for parts in arrays_of(sample) for part in parts]:
        assert array.flags.writeable


def test_a_file_of_another_key_is_not_taken(path):
    with pytest.raises(CorruptObject, match="made otherwise"):
        KeptFile.open(path, "another")


def test_every_cut_is_noticed(path):
    data = path.read_bytes()
    for length in [0, 1, 7, 8, *range(9, len(data), 211), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CorruptObject, match=r"a\.features: no file of kept features"):
            KeptFile.open(path, "key")


def test_every_changed_byte_is_noticed_and_the_other_pairs_stay_readable(path, items):
    data = bytearray(path.read_bytes())
    for place in range(8, len(data), 101):
        changed = data.copy()
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            kept = KeptFile.open(path, "key")
        except CorruptObject:
            continue
        damaged = 0
        for index, fresh in enumerate(items[:-1]):
            try:
                check_same(kept.sample(index), fresh)
            except CorruptObject:
                damaged += 1
        assert damaged == 1


def test_a_file_that_vanishes_or_shrinks_after_it_was_opened_is_damaged(path):
    kept = KeptFile.open(path, "key")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptObject, match="cut off or damaged"):
        kept.sample(2)
    path.unlink()
    with pytest.raises(CorruptObject, match="cannot be read"):
        kept.sample(2)


def test_an_index_that_lies_about_sizes_is_refused(path):
    import struct
    import zlib

    data = path.read_bytes()
    offset, size, _, magic = struct.unpack("<QQI8s", data[-28:])
    index = json.loads(data[offset : offset + size])
    index["pairs"][0]["counts"] = [10**9, 10**9]
    changed = json.dumps(index).encode()
    path.write_bytes(data[:offset] + changed + struct.pack("<QQI8s", offset, len(changed), zlib.crc32(changed), magic))
    with pytest.raises(CorruptObject, match="contradicts itself"):
        KeptFile.open(path, "key")


def test_features_of_posed_pairs_are_refused_and_leave_nothing(items, tmp_path):
    view = DepthView(np.ones((4, 4), np.float32), np.eye(3), np.eye(3))
    posed = dataclasses.replace(items[0], truth=Posed(view, view, np.eye(4)), part="megadepth")
    with pytest.raises(InvalidInput, match=r"megadepth pair film/0: .* set features\.variants to 0"):
        write_kept(tmp_path / "p.features", "key", [items[1], posed])
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_from_a_fault_of_the_items(items, tmp_path):
    with pytest.raises(CannotKeepError, match="no-folder"):
        write_kept(tmp_path / "no-folder" / "a.features", "key", items)

    def failing():
        yield items[0]
        raise OSError("of the shard")

    with pytest.raises(OSError, match="of the shard"):
        write_kept(tmp_path / "a.features", "key", failing())
    assert not list(tmp_path.iterdir())
