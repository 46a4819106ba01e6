"""Dumped micro-batches are read with what in them is no number, and never run anything."""

import pickle

import numpy as np
import pytest
import torch

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import CorruptObject, InvalidInput
from gim.training.collate import image_batch
from gim.training.looking.bad import bad_batches
from gim.training.looking.batches import BatchRequest
from gim.training.looking.inspection import inspect_bad
from tests.unit.training.features.fakes import sample_of
from tests.unit.training.looking import runs


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


@pytest.fixture
def record(store):
    return runs.put_run(store)


def dumped(part="video"):
    """What hooks dump of a batch of two pairs, one of whose pixels is no number."""
    samples = [sample_of(name, np.random.default_rng(place), part=part) for place, name in enumerate("ab")]
    batch = image_batch(samples)
    batch.images1[1, 0, 3, 4] = torch.nan
    return samples, {"part": part, "names": batch.names, "batch": batch.tensors()}


def test_a_dump_says_what_is_no_number_and_shows_its_images(store, record):
    samples, item = dumped()
    runs.put_dump(store, 12, [item])
    runs.put_dump(store, 12, [item], rank=3)
    first, second = bad_batches(store, record.run_id, 12)
    assert (first.part, first.names, first.num_not_finite) == ("video", ("a", "b"), 1)
    facts = {fact.name: fact for fact in first.tensors}
    assert facts["images1"].num_not_finite == 1
    assert facts["images0"].shape == "2 × 3 × 48 × 64"
    assert (facts["valid0"].low, facts["valid0"].high, facts["truth.is_label"].dtype) == ("0", "1", "bool")
    for sample, (image0, image1) in zip(samples, first.images, strict=True):
        assert np.array_equal(image0, sample.image0)
        assert (image1 != sample.image1).sum() <= 1
    assert second.names == first.names


def test_the_page_of_a_dump_names_its_tensors(store, record, tmp_path):
    runs.put_dump(store, 12, [dumped("<i>part</i>")[1]])
    features = {"keypoints0": torch.full((1, 5, 2), torch.inf), "truth": {"H01": torch.eye(3)[None]}}
    runs.put_dump(store, 12, [{"part": "video", "names": ("c",), "batch": features}], rank=1)
    inspect_bad(BatchRequest(store, record, 12), tmp_path / "bad.html", folder=tmp_path / "pictures")
    page = (tmp_path / "bad.html").read_text()
    assert "&lt;i&gt;part&lt;/i&gt;" in page
    assert "truth.H01" in page
    assert 'loud">10<' in page
    assert "shows" not in page.split("<main")[0]
    assert "The run saw features" in page
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["dump-001-000.jpg", "dump-001-001.jpg"]


def test_a_step_without_a_dump_names_those_that_have_one(store, record):
    with pytest.raises(InvalidInput, match=r"run tiny-0123abcd has no dump of step 3: no step of it has one"):
        bad_batches(store, record.run_id, 3)
    runs.put_dump(store, 12, [dumped()[1]])
    with pytest.raises(InvalidInput, match=r"has no dump of step 3: steps 12 have some"):
        bad_batches(store, record.run_id, 3)


class Evil:
    def __reduce__(self):
        return (print, ("it has run",))


@pytest.mark.parametrize(
    "data", [b"", b"no dump", pickle.dumps(Evil()), b"\x80"], ids=["empty", "text", "code", "cut off"]
)
def test_a_damaged_dump_is_one_line_and_runs_nothing(store, record, data, capsys):
    store.put(keys.training_dump(record.run_id, 5, 0), data)
    with pytest.raises(CorruptObject, match=r"checkpoints/tiny-0123abcd/bad/00000005-0000\.pt: not a readable dump"):
        bad_batches(store, record.run_id, 5)
    assert "it has run" not in capsys.readouterr().out


def test_a_dump_of_another_shape_is_damaged(store, record):
    runs.put_dump(store, 5, [{"names": ("a",)}])
    with pytest.raises(CorruptObject, match="not a readable dump"):
        bad_batches(store, record.run_id, 5)
