import pytest

from gim.adapters.store_file import FileStore
from gim.errors import CorruptObject, InvalidInput
from gim.export.selection import Condition, parse_condition, read_pairs, select_pairs
from gim.results import find_results, one_of_each_video
from tests import report_data


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    store = FileStore(tmp_path_factory.mktemp("store") / "s")
    yield store, report_data.good_video(store, num_samples=24)
    store.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coverage>=0.2", Condition("coverage", ">=", 0.2)),
        (" num_links = 3 ", Condition("num_links", "=", 3.0)),
        ("interval_seconds<1e1", Condition("interval_seconds", "<", 10.0)),
    ],
)
def test_a_condition_is_read(text, expected):
    assert parse_condition(text) == expected


@pytest.mark.parametrize(
    "text", ["", "coverage", "coverage>", "covrage>1", "coverage>=x", "coverage=>1", "coverage>nan"]
)
def test_a_condition_that_says_nothing_is_refused(text):
    with pytest.raises(InvalidInput, match="condition"):
        parse_condition(text)


def test_conditions_hold_for_exactly_the_pairs_selected(stored):
    store, video_id = stored
    (result,) = find_results(store, [video_id])
    conditions = [parse_condition("interval_seconds>0.8"), parse_condition("num_links<=1")]
    everything = select_pairs(store, result, []).entries
    selected = select_pairs(store, result, conditions).entries
    expected = [e for e in everything if e.quality.interval_seconds > 0.8 and e.quality.num_links <= 1]
    assert 0 < len(selected) < len(everything)
    assert selected == expected


def test_pairs_are_read_in_order_and_only_those_wanted(stored):
    store, video_id = stored
    (result,) = find_results(store)
    video = select_pairs(store, result, [parse_condition("interval_seconds>0.8")])
    read = list(read_pairs(store, video))
    assert [(item.pair.frame0, item.pair.frame1) for item in read] == [(e.frame0, e.frame1) for e in video.entries]
    assert all(item.pair.video_id == video_id and item.jpeg0[:2] == b"\xff\xd8" for item in read)


def test_a_missing_shard_is_named(stored, tmp_path):
    store = FileStore(tmp_path / "s")
    report_data.good_video(store, num_samples=24)
    (result,) = find_results(store)
    video = select_pairs(store, result, [])
    store.delete(result.shards[0].key)
    with pytest.raises(CorruptObject, match=r"00000\.tar"):
        list(read_pairs(store, video))
    store.close()


def test_what_has_no_result_is_said(stored):
    store, video_id = stored
    with pytest.raises(InvalidInput, match="file-0000000000000000 has no finished result"):
        find_results(store, ["file-0000000000000000"])
    with pytest.raises(InvalidInput, match="no finished result of recipe paper-1"):
        find_results(store, [video_id], "paper-1")


def test_two_results_of_one_video_must_be_told_apart(stored):
    store, _ = stored
    results = find_results(store)
    with pytest.raises(InvalidInput, match="--recipe-id"):
        one_of_each_video([*results, *results])
