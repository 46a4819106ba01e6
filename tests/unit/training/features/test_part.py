"""Kept features of a part: made once, shared by runs and processes, mended when damaged, never taken for others."""

import dataclasses
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("torch")

from gim.errors import ConfigError, CorruptObject
from gim.training.augment.config import augment_recipe
from gim.training.config import FeatureConfig, SampleConfig, TrainingConfig
from gim.training.data.opening import OpenedPart
from gim.training.data.parts import Draw
from gim.training.data.posed.part import PosedPart
from gim.training.distributed import Ranks
from gim.training.features.cache import FeatureCache
from gim.training.features.keeping import kept_parts
from gim.training.features.part import FeaturePart
from gim.training.features.prepare import prepare
from gim.training.samples import SampleSkipped
from tests.unit.training.features.fakes import FakePart, fake_extractor
from tests.unit.training.features.test_kept_file import check_same

VARIANTS = 3
MADE_WITH = (SampleConfig(), augment_recipe("paper"))


def kept_part(folder, part=None, *, max_bytes=2**30, said=None, made_with=MADE_WITH, **settings):
    cache = FeatureCache(folder, max_bytes=max_bytes, say=(said if said is not None else []).append)
    extractor = fake_extractor(**settings)
    return FeaturePart(part or FakePart(), extractor, cache, variants=VARIANTS, made_with=made_with, max_labels=40)


def everything(part, epochs=range(VARIANTS)):
    """All pairs of all groups in all epochs; None for those that give no sample."""
    found = {}
    for group, size in enumerate(part.group_sizes):
        with part.open(group) as opened:
            for epoch in epochs:
                for index in range(size):
                    try:
                        found[group, index, epoch] = opened.sample(index, Draw(77, epoch))
                    except SampleSkipped as skipped:
                        found[group, index, epoch] = str(skipped)
    return found


def check_all(found, expected):
    assert found.keys() == expected.keys()
    for place, sample in found.items():
        if isinstance(sample, str):
            assert sample == expected[place]
        else:
            check_same(sample, expected[place])


def fresh(part, **settings):
    """What an extractor gives for the samples of each variant, nothing kept."""
    found, extractor = {}, fake_extractor(**settings)
    for group, size in enumerate(part.group_sizes):
        with part.open(group) as opened:
            for epoch in range(VARIANTS):
                for index in range(size):
                    try:
                        (found[group, index, epoch],) = extractor.features([opened.sample(index, Draw(0, epoch))])
                    except SampleSkipped as skipped:
                        found[group, index, epoch] = str(skipped)
    return found


def test_kept_features_are_the_fresh_ones_and_are_made_once(tmp_path):
    inner = FakePart(skips=frozenset({(2, 0), (4, 1)}))
    expected = fresh(FakePart(skips=inner.skips))
    part = kept_part(tmp_path, inner)
    check_all(everything(part), expected)
    assert expected[0, 2, 0] == "too_few_labels: 2: 3 of 64"
    assert set(inner.made.values()) == {1}
    assert part.cache.counts.pairs_made == VARIANTS * 16
    again = FakePart(skips=inner.skips)
    check_all(everything(kept_part(tmp_path, again)), expected)
    assert not again.made
    assert not again.opened  # not even fetched


def test_epochs_beyond_the_variants_and_other_seeds_give_the_same_pairs_again(tmp_path):
    inner = FakePart(group_sizes=(4,))
    part = kept_part(tmp_path, inner)
    first = everything(part)
    later = everything(part, range(VARIANTS, 2 * VARIANTS))
    check_all({(group, index, epoch - VARIANTS): sample for (group, index, epoch), sample in later.items()}, first)
    assert max(inner.made.values()) == 1
    assert not np.array_equal(first[0, 0, 0].truth.points, first[0, 0, 1].truth.points)


def reports_of(parts, **settings):
    """What `prepare` told."""
    reports = []
    prepare(parts, report=lambda *done: reports.append(done), **settings)
    return reports


def test_prepare_makes_everything_in_shares_and_tells_how_far_it_is(tmp_path):
    told, makers = [], []
    for rank in range(3):
        inner = FakePart()
        reports = reports_of([kept_part(tmp_path, inner)], rank=rank, world_size=3, threads=2)
        makers.append(inner)
        told.append(reports)
        assert [done for done, _ in reports] == sorted({done for done, _ in reports})
        assert reports[-1][0] == reports[-1][1] == sum(inner.made.values())
    assert sum(reports[-1][1] for reports in told) == VARIANTS * 16
    assert max(sum((inner.made for inner in makers), start=FakePart().made).values()) == 1
    unused = FakePart()
    check_all(everything(kept_part(tmp_path, unused)), fresh(FakePart()))
    assert not unused.made
    assert reports_of([kept_part(tmp_path, unused)])[-1] == (48, 48)
    assert not unused.made


def _changed(data, place):
    data = bytearray(data)
    data[place] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-1], lambda data: data[:50], lambda data: b"", lambda data: _changed(data, 40)]
)
def test_a_damaged_file_is_made_anew_and_counted(tmp_path, harm):
    everything(kept_part(tmp_path))
    expected = fresh(FakePart())
    for path in tmp_path.iterdir():
        path.write_bytes(harm(path.read_bytes()))
    part = kept_part(tmp_path)
    check_all(everything(part), expected)
    assert part.cache.counts.files_damaged == 6
    mended = kept_part(tmp_path)
    check_all(everything(mended), expected)
    assert mended.cache.counts.files_damaged == 0


def test_a_file_that_is_removed_while_its_group_is_open_is_made_anew(tmp_path):
    part = kept_part(tmp_path)
    with part.open(0) as opened:
        first = opened.sample(1, Draw(0, 0))
        for path in tmp_path.iterdir():
            path.unlink()
        check_same(opened.sample(1, Draw(0, 0)), first)


def test_any_other_setting_or_content_has_other_files(tmp_path):
    key = kept_part(tmp_path).key(0, 0)
    fields = {item.name for item in dataclasses.fields(fake_extractor().settings)}
    others = {
        "max_keypoints": 41,
        "at_labels": False,
        "label_share": 0.4,
        "min_distance_px": 2.5,
        "border_px": 3,
        "detection_threshold": 0.1,
        "nms_radius_px": 4,
    }
    assert set(others) == fields  # a new setting is named here
    digests = {name: kept_part(tmp_path, **{name: value}).key(0, 0).digest for name, value in others.items()}
    digests["contents"] = kept_part(tmp_path, FakePart(version="2")).key(0, 0).digest
    digests["part"] = kept_part(tmp_path, FakePart(name="homography")).key(0, 0).digest
    digests["group"] = kept_part(tmp_path, FakePart(group_sizes=(5, 5))).key(1, 0).digest
    digests["size"] = kept_part(tmp_path, FakePart(group_sizes=(4,))).key(0, 0).digest
    digests["variant"] = kept_part(tmp_path).key(0, 1).digest
    digests["sample"] = kept_part(tmp_path, made_with=(SampleConfig(width=320), MADE_WITH[1])).key(0, 0).digest
    digests["augment"] = kept_part(tmp_path, made_with=(MADE_WITH[0], augment_recipe("none"))).key(0, 0).digest
    extractor = {**key.extractor, "weights": "0" * 64}
    digests["weights"] = dataclasses.replace(key, extractor=extractor).digest
    assert len({key.digest, *digests.values()}) == len(digests) + 1
    assert kept_part(tmp_path).key(0, 0).digest == key.digest
    assert kept_part(tmp_path).identity(0) != kept_part(tmp_path).identity(1)


def test_where_labels_are_put_changes_nothing_for_pairs_without_labels(tmp_path):
    plane, film = (
        {kept_part(tmp_path, FakePart(name=name), at_labels=here).key(0, 0).digest for here in (False, True)}
        for name in ("homography", "video")
    )
    assert len(plane) == 1
    assert len(film) == 2


def test_beyond_the_limit_features_are_made_anew_and_that_is_said_once(tmp_path):
    said: list[str] = []
    inner = FakePart()
    limit = kept_part(tmp_path, inner).max_bytes(0)
    part = kept_part(tmp_path, inner, max_bytes=limit, said=said)
    check_all(everything(part), fresh(FakePart()))
    assert len(list(tmp_path.iterdir())) == 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
    assert len(said) == 1
    assert "features.max_cache_gib" in said[0]
    assert part.cache.counts.pairs_made == 5
    assert part.cache.counts.pairs_not_kept == VARIANTS * 16 - 5


def test_a_folder_that_cannot_be_written_is_said_once_and_costs_only_time(tmp_path):
    said: list[str] = []
    (tmp_path / "file").write_text("in the way")
    part = kept_part(tmp_path / "file" / "features", FakePart(group_sizes=(3,)), said=said)
    check_all(everything(part), fresh(FakePart(group_sizes=(3,))))
    assert len(said) == 1
    assert part.cache.counts.pairs_not_kept == VARIANTS * 3


def test_many_threads_make_a_group_once(tmp_path):
    inner = FakePart(group_sizes=(8,))
    part, found = kept_part(tmp_path, inner), []
    with part.open(0) as opened:
        threads = [threading.Thread(target=lambda i=i: found.append(opened.sample(i, Draw(0, 0)))) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8
    assert set(inner.made.values()) == {1}


_SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from gim.records import Features
from gim.training.features.cache import FeatureCache, KeptKey
from gim.training.samples import FeatureSample, Labels

features = Features(*(np.ones(shape, np.float32) for shape in ((9, 2), (9, 8), 9)), (64, 48))

def made(variant):
    for number in range(5):
        time.sleep(0.01)
        truth = Labels(np.full((number, 4), variant, np.float32))
        yield FeatureSample(f"film/{number}", "video", features, features, truth)

cache = FeatureCache(Path(sys.argv[1]), max_bytes=2**30, say=print)
for variant in range(6):
    key = KeptKey("video", "shard@0", 5, variant, {"extractor": "fake"}, ())
    kept = cache.find(key) or cache.keep(key, 1000, lambda: made(variant))
    assert [len(kept.sample(number).truth.points) for number in range(5)] == [0, 1, 2, 3, 4]
    assert kept.sample(4).truth.points.min() == variant
assert "torch" not in sys.modules
print(cache.counts.pairs_made, cache.counts.files_damaged)
"""


def test_two_processes_at_once_share_the_work_and_the_files(tmp_path):
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [tuple(map(int, process.communicate(timeout=120)[0].split())) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(made for made, _ in told) == 30  # each file once, by either
    assert [damaged for _, damaged in told] == [0, 0]
    assert [path.suffix for path in tmp_path.iterdir()] == [".features"] * 6


def test_a_damaged_group_ends_with_its_own_error_and_leaves_no_file(tmp_path):
    part = kept_part(tmp_path, FakePart(version="gone"))
    with part.open(0) as opened, pytest.raises(CorruptObject, match="the shard is gone"):
        opened.sample(0, Draw(0, 0))
    assert not list(tmp_path.iterdir())


# --- as a run uses it -------------------------------------------------------------------------------------------------


def test_kept_parts_are_ready_and_a_posed_set_is_refused(tmp_path):
    config = TrainingConfig(features=FeatureConfig(variants=2, cache=str(tmp_path / "kept")))
    told, inner = [], FakePart(group_sizes=(3, 2))
    parts = [OpenedPart(inner, 0.7)]
    (kept,) = kept_parts(parts, fake_extractor(), config, Ranks(), report=lambda *done: told.append(done))
    assert (kept.share, kept.part.name, told[-1]) == (0.7, "video", (10, 10))
    before = inner.made.copy()
    with kept.part.open(1) as opened:
        assert opened.sample(1, Draw(5, 7)).name == "1/1"
    assert inner.made == before

    posed = object.__new__(PosedPart)  # is refused before anything of it is asked
    posed.name = "megadepth"
    with pytest.raises(ConfigError, match=r"features\.variants 2: features of posed set megadepth cannot be kept"):
        kept_parts([OpenedPart(posed, 1.0)], fake_extractor(), config, Ranks())


def test_the_default_folder_lies_beside_that_of_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = FeatureCache.of(FeatureConfig(), print)
    assert cache._folder == tmp_path / "gim" / "features"
