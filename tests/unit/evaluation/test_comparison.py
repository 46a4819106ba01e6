"""Tables of methods: the published results reproduced, ranks against counting, and differences on the same pairs."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.zeb import DATASETS
from gim.errors import InvalidInput
from gim.evaluation.bootstrap import Interval
from gim.evaluation.comparison import Comparison, MethodResults, compare, mean_ranks, read_results
from tests.zeb_files import results_of, unpack_published, write_results

# AUC@5 degrees of the published files, as two others computed it (gim.md 4d; shared/zeb_results/README.md).
REPRODUCED = {
    "gim_dkm": [63.54, 53.09, 74.04, 76.59, 43.08, 34.79, 52.40, 24.00, 56.44, 32.21, 42.69, 61.68],
    "root_sift": [43.53, 33.60, 49.86, 48.67, 35.24, 22.33, 44.45, 14.19, 33.44, 7.62, 14.81, 35.11],
}
MEANS = {"gim_dkm": 51.21, "root_sift": 31.90}


@pytest.fixture(scope="module")
def published_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_published(shared_data, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def published(published_folder: Path) -> Comparison:
    return compare(read_results([published_folder]))


def method(name: str, **errors: list[float]) -> MethodResults:
    """A method by its errors on datasets; one run."""
    return MethodResults(name, "v1", {dataset: [results_of(row)] for dataset, row in errors.items()})


@pytest.mark.shared
def test_the_published_means_and_datasets_are_reproduced(published: Comparison) -> None:
    assert [item.method for item in published.methods] == ["gim_dkm", "root_sift"]
    for item in published.methods:
        assert item.mean["5"] == pytest.approx(MEANS[item.method], abs=0.01)
        assert list(item.datasets) == [dataset.name for dataset in DATASETS]
        found = [score.auc["5"] for score in item.datasets.values()]
        assert found == pytest.approx(REPRODUCED[item.method], abs=0.01)
        assert item.mean["5"] == pytest.approx(np.mean(found))
        assert item.missing == []
        assert item.interval["5"].low < item.mean["5"] < item.interval["5"].high
        assert item.interval["5"].high - item.interval["5"].low < 1  # 45,916 pairs
        for score in item.datasets.values():
            assert score.auc["5"] < score.auc["10"] < score.auc["20"]
            assert sum(found.num_pairs for found in score.bins) == score.num_pairs
    assert [item.rank for item in published.methods] == [1.0, 2.0]


@pytest.mark.shared
def test_published_failures_are_counted_as_they_are_printed(published: Comparison, published_folder: Path) -> None:
    printed = {
        tuple(path.name.split()[1:3]): path.read_text().count(" inf inf inf ") for path in published_folder.iterdir()
    }
    counted = {
        (item.method, dataset): score.num_failures
        for item in published.methods
        for dataset, score in item.datasets.items()
    }
    assert counted == printed
    assert sum(printed.values()) > 1000


@pytest.mark.shared
def test_the_difference_of_the_published_methods_is_theirs_less(published: Comparison) -> None:
    whole, *parts = published.differences
    assert (whole.method, whole.other, whole.dataset) == ("gim_dkm", "root_sift", "")
    assert whole.auc["5"] == pytest.approx(MEANS["gim_dkm"] - MEANS["root_sift"], abs=0.01)
    assert whole.interval["5"].low < whole.auc["5"] < whole.interval["5"].high
    assert whole.interval["5"].excludes_zero
    assert [part.dataset for part in parts] == [dataset.name for dataset in DATASETS]
    of_kitti = next(part for part in parts if part.dataset == "KITTI")
    assert of_kitti.auc["5"] == pytest.approx(43.08 - 35.24, abs=0.01)


@given(
    st.dictionaries(
        st.sampled_from("abcde"),
        st.fixed_dictionaries({name: st.sampled_from([1.0, 2.0, 3.0]) for name in ("x", "y", "z")}),
        max_size=5,
    )
)
def test_ranks_are_what_counting_says(scores: dict[str, dict[str, float]]) -> None:
    expected = {}
    for name, own in scores.items():
        ranks = []
        for dataset, value in own.items():
            better = sum(other[dataset] > value for other in scores.values())
            as_good = sum(other[dataset] == value for other in scores.values())
            ranks.append(better + (as_good + 1) / 2)  # the mean of the places that they share
        expected[name] = sum(ranks) / 3
    assert mean_ranks(scores) == pytest.approx(expected)


def test_ranks_are_over_the_datasets_that_all_have() -> None:
    scores = {"a": {"x": 1.0, "y": 9.0}, "b": {"x": 2.0}}
    assert mean_ranks(scores) == {"a": 2.0, "b": 1.0}
    assert mean_ranks({"a": {"x": 1.0}, "b": {"y": 1.0}}) == {}
    assert mean_ranks({}) == {}


def test_the_difference_of_a_method_and_itself_is_exactly_zero() -> None:
    errors = np.random.default_rng(0).gamma(2.0, 3.0, 200).tolist()
    found = compare([method("one", KITTI=errors, GL3D=errors[:50]), method("two", KITTI=errors, GL3D=errors[:50])])
    assert [item.rank for item in found.methods] == [1.5, 1.5]
    assert [item.dataset for item in found.differences] == ["", "GL3D", "KITTI"]
    for difference in found.differences:
        assert difference.auc == {"5": 0.0, "10": 0.0, "20": 0.0}
        assert difference.interval == dict.fromkeys(difference.auc, Interval(0.0, 0.0))


def test_a_small_gain_on_every_pair_is_told_from_chance() -> None:
    errors = np.random.default_rng(0).gamma(2.0, 1.0, 300)
    found = compare([method("old", KITTI=errors.tolist()), method("new", KITTI=(0.95 * errors).tolist())])
    new, old = (item.interval["5"] for item in found.methods)
    assert [item.method for item in found.methods] == ["new", "old"]
    assert new.low < old.high  # each for itself, they could be the same
    whole, _ = found.differences
    assert whole.interval["5"].low > 0
    assert whole.auc["5"] == pytest.approx(found.methods[0].mean["5"] - found.methods[1].mean["5"])


def test_a_table_does_not_hang_on_the_order_of_what_is_given() -> None:
    random = np.random.default_rng(3)
    methods = [method(name, KITTI=random.gamma(2.0, 3.0, 40).tolist()) for name in "abc"]
    assert compare(methods) == compare(methods) == compare(methods[::-1])


def test_what_a_method_lacks_is_named_and_leaves_its_mean_alone() -> None:
    found = compare([method("all", KITTI=[2.5], GL3D=[0.0], own=[5.0]), method("some", KITTI=[0.0])])
    some, every = found.methods
    assert (some.method, some.missing, some.mean["5"], some.rank) == ("some", ["GL3D", "own"], 100.0, 1.0)
    assert (every.missing, every.mean["5"], every.rank) == ([], pytest.approx((75 + 100 + 0) / 3), 2.0)
    assert list(every.datasets) == ["GL3D", "KITTI", "own"]
    assert [item.dataset for item in found.differences] == ["", "KITTI"]


def test_methods_without_a_common_dataset_have_no_rank_and_no_difference() -> None:
    found = compare([method("a", KITTI=[1.0]), method("b", GL3D=[1.0])])
    assert [item.rank for item in found.methods] == [None, None]
    assert found.differences == []


def test_no_pairs_and_only_failures_score_zero() -> None:
    found = compare([method("none", KITTI=[]), method("other", KITTI=[])])
    assert [item.mean for item in found.methods] == [{"5": 0.0, "10": 0.0, "20": 0.0}] * 2
    (failed,) = compare([method("failed", KITTI=[math.inf] * 3)]).methods
    assert (failed.mean["5"], failed.interval["5"]) == (0.0, Interval(0.0, 0.0))


@pytest.mark.parametrize("scenes", [("drive", "kicker"), ("drive", "Drive")])
def test_other_pairs_are_refused(scenes: tuple[str, str]) -> None:
    given = [
        MethodResults(name, "v1", {"KITTI": [results_of([1.0, 2.0], scene=scene)]})
        for name, scene in zip("ab", scenes, strict=True)
    ]
    with pytest.raises(InvalidInput, match=r"^KITTI: b has other pairs than a, .*`gim evaluate check` names them"):
        compare(given)


def test_another_order_is_refused() -> None:
    pairs = results_of([1.0, 2.0])
    given = [MethodResults("a", "v1", {"KITTI": [pairs]}), MethodResults("b", "v1", {"KITTI": [pairs[::-1]]})]
    with pytest.raises(InvalidInput, match="or another order"):
        compare(given)


def test_seeds_of_a_version_belong_together(tmp_path: Path) -> None:
    for seed, error in enumerate([1.0, 2.0, 4.0]):
        write_results(tmp_path, results_of([error]), ("mine", "KITTI", f"strict-1.seed{seed}"))
    write_results(tmp_path, results_of([3.0]), ("mine", "GL3D", "strict-1.seed0"))
    (found,) = read_results([tmp_path])
    assert (found.method, found.version, list(found.runs)) == ("mine", "strict-1", ["GL3D", "KITTI"])
    assert [run[0].pose_error_deg for run in found.runs["KITTI"]] == [1.0, 2.0, 4.0]
    (scored,) = compare([found]).methods
    # An only pair that is off by e degrees has the area 1 - e / 10 up to 5.
    assert scored.datasets["KITTI"].auc["5"] == pytest.approx((90 + 80 + 60) / 3)
    assert scored.datasets["KITTI"].spread["5"] == pytest.approx(90 - 60)


def test_versions_stand_apart_and_a_word_that_begins_alike_is_no_seed(tmp_path: Path) -> None:
    for version in ("v1", "v1.seedling", "v1.seed"):
        write_results(tmp_path, results_of([1.0]), ("mine", "KITTI", version))
    write_results(tmp_path, results_of([1.0]), ("other", "KITTI", "v1"))
    found = read_results([tmp_path])
    assert [item.method for item in found] == ["mine v1", "mine v1.seed", "mine v1.seedling", "other"]
    assert [len(item.runs["KITTI"]) for item in found] == [1, 1, 1, 1]


def test_seeds_of_other_pairs_are_refused(tmp_path: Path) -> None:
    write_results(tmp_path, results_of([1.0, 2.0]), ("mine", "KITTI", "v1.seed0"))
    write_results(tmp_path, results_of([1.0]), ("mine", "KITTI", "v1.seed1"))
    with pytest.raises(
        InvalidInput, match=r"seed1\.txt: has other pairs than .*seed0\.txt, of which it is another seed"
    ):
        read_results([tmp_path])


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = write_results(tmp_path, results_of([1.0]), ("mine", "KITTI", "v1"))
    with pytest.raises(InvalidInput, match=r"v1\.txt: the results of .* again"):
        read_results([tmp_path, path])


def test_nothing_given_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no results were given"):
        read_results([])
