"""ZEB as the runner takes it: sizes by protocol, result files whole or not at all, draws as glue-factory makes them."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.zeb import DATASETS, dataset_named, read_dataset
from gim.errors import InvalidInput
from gim.evaluation.image_size import SizeRule
from gim.evaluation.pose_scorer import Column
from gim.evaluation.protocols import protocol_named
from gim.evaluation.results_file import format_results, read_results_file
from gim.evaluation.scores import score_results
from gim.evaluation.zeb import mean_auc, results_of, size_rule, write_results, zeb_evaluation
from gim.records import Float64Array
from tests.zeb_files import pair_text
from tests.zeb_folder import SIZE, write_zeb

GIM, STRICT, GLUE_FACTORY = map(protocol_named, ("gim", "strict", "glue-factory"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zeb(tmp_path_factory.mktemp("zeb"))


def rows_of(num_pairs: int, num_seeds: int = 1) -> Float64Array:
    random = np.random.default_rng(0)
    rows = random.uniform(0, 20, (num_pairs, num_seeds, len(Column)))
    rows[..., Column.NUM_MATCHES :] = np.sort(random.integers(1, 99, rows[..., Column.NUM_MATCHES :].shape))[..., ::-1]
    rows[0, :, : Column.NUM_MATCHES] = np.inf
    return rows


def test_images_are_matched_at_the_size_of_the_dataset_or_of_the_protocol(root: Path) -> None:
    assert size_rule(dataset_named("kitti"), GIM) == SizeRule(1240, 1, (1240, 384))
    assert size_rule(dataset_named("eth3di"), STRICT) == SizeRule(1600, 8, (1600, 1072))
    assert size_rule(dataset_named("gl3d"), GIM) == SizeRule(9999, 8)
    for dataset in DATASETS:
        assert size_rule(dataset, GLUE_FACTORY) == SizeRule(1024, is_enlarged=True)
    shapes = {}
    for folder, protocol in (("gl3d", GIM), ("kitti", GIM), ("kitti", GLUE_FACTORY)):
        dataset = dataset_named(folder)
        views, _ = zeb_evaluation(root, dataset, read_dataset(root, dataset), protocol)
        view = views.image(views.pairs[0][0])
        assert view.original == SIZE
        shapes[folder, protocol.name] = (view.size, view.pixels.shape)
    assert shapes == {
        ("gl3d", "gim"): ((200, 144), (144, 200, 3)),
        ("kitti", "gim"): ((200, 150), (384, 1240, 3)),
        ("kitti", "glue-factory"): ((1024, 768), (768, 1024, 3)),
    }


def test_protocols_that_match_at_one_size_share_their_matches(root: Path) -> None:
    dataset = dataset_named("kitti")
    pairs = read_dataset(root, dataset)
    ids = {protocol.name: zeb_evaluation(root, dataset, pairs, protocol)[0].id for protocol in (GIM, STRICT)}
    assert ids["gim"] == ids["strict"] != zeb_evaluation(root, dataset, pairs, GLUE_FACTORY)[0].id
    scorers = {zeb_evaluation(root, dataset, pairs, protocol)[1].id for protocol in (GIM, STRICT)}
    assert len(scorers) == 2
    assert zeb_evaluation(root, dataset, pairs[1:], GIM)[0].id != ids["gim"]


def test_an_absent_image_is_refused_with_its_file(root: Path, tmp_path: Path) -> None:
    write_zeb(tmp_path, ["gl3d"])
    dataset = dataset_named("gl3d")
    pairs = read_dataset(tmp_path, dataset)
    missing = tmp_path / "gl3d" / pairs[0].image1
    missing.unlink()
    with pytest.raises(InvalidInput, match=f"{missing}: cannot be read"):
        zeb_evaluation(tmp_path, dataset, pairs, GIM)


@pytest.mark.parametrize("folder", ["gl3d", "kitti"])
def test_results_are_written_as_published_and_read_back(root: Path, tmp_path: Path, folder: str) -> None:
    dataset = dataset_named(folder)
    pairs = read_dataset(root, dataset)
    runs = results_of(pairs, rows_of(len(pairs)))
    (path,) = write_results(tmp_path, "mine", dataset.name, GIM, runs)
    assert path.name == f"[T] mine {dataset.name:>15} gim-1.txt"
    read = read_results_file(path)
    assert (read.method, read.dataset, read.version) == ("mine", dataset.name, "gim-1")
    assert list(read.results) == runs[0]
    assert all(dataset.spells(result.identifier) for result in read.results)
    assert [result.overlap0 for result in read.results] == [pair.overlap0 for pair in pairs]
    assert read.results[0].rotation_error_deg == np.inf
    again = score_results(dataset.name, [read.results])
    assert again == score_results(dataset.name, runs)
    assert again.num_failures == 1


def test_each_seed_has_its_file(root: Path, tmp_path: Path) -> None:
    pairs = read_dataset(root, dataset_named("gl3d"))
    runs = results_of(pairs, rows_of(len(pairs), 3))
    paths = write_results(tmp_path, "mine", "GL3D", STRICT, runs)
    assert [read_results_file(path).version for path in paths] == [f"strict-1.seed{seed}" for seed in (0, 1, 2)]
    assert [list(read_results_file(path).results) for path in paths] == runs


def test_half_a_file_of_a_crash_is_replaced_by_the_whole(root: Path, tmp_path: Path) -> None:
    pairs = read_dataset(root, dataset_named("gl3d"))
    runs = results_of(pairs, rows_of(len(pairs)))
    (path,) = write_results(tmp_path, "mine", "GL3D", GIM, runs)
    whole = path.read_bytes()
    assert whole == format_results(runs[0]).encode()
    for part in (b"", whole[: len(whole) // 2], whole + whole[-40:]):
        path.write_bytes(part)
        if part:
            with pytest.raises(InvalidInput):
                read_results_file(path)
        assert write_results(tmp_path, "mine", "GL3D", GIM, runs) == [path]
        assert path.read_bytes() == whole
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("method", ["", "my matcher", "a/b", "tab\tbed"])
def test_a_method_that_no_file_can_be_named_by_is_refused(tmp_path: Path, method: str) -> None:
    with pytest.raises(InvalidInput, match="a name has no blank and no slash"):
        write_results(tmp_path, method, "GL3D", GIM, [[]])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match=r"file/\[T\] mine +GL3D gim-1\.txt: cannot be written"):
        write_results(tmp_path / "file", "mine", "GL3D", GIM, [[]])


def test_the_mean_is_over_datasets_and_not_over_pairs(root: Path) -> None:
    pairs = read_dataset(root, dataset_named("gl3d"))
    runs = results_of(pairs, rows_of(len(pairs)))
    many, few = score_results("GL3D", runs), score_results("KITTI", [runs[0][:2]])
    mean = mean_auc({"GL3D": many, "KITTI": few})
    assert mean == {bound: pytest.approx((many.auc[bound] + few.auc[bound]) / 2) for bound in ("5", "10", "20")}
    assert mean_auc({}) == {}


def test_glue_factory_draws_two_hundred_of_a_folder(tmp_path: Path) -> None:
    sizes = {"gl3d": 230, "kitti": 201, "scenenet": 60}
    for folder, number in sizes.items():
        place = tmp_path / folder
        place.mkdir()
        separator = dataset_named(folder).separator
        for index in range(number):
            (place / f"s{separator}{index}{separator}x.txt").write_text(pair_text(str(index), "x"))
            (place / f"s{separator}{index}.png").touch()
        (place / f"s{separator}x.png").touch()
    assert GLUE_FACTORY.max_pairs_per_scene == 200
    for place, folder in enumerate(sorted(sizes)):
        names = sorted(path.stem for path in (tmp_path / folder).glob("*.txt"))
        if len(names) > 200:  # as its loader has it: a generator for each folder, without replacement
            names = [names[i] for i in np.random.RandomState(place).choice(len(names), 200, replace=False)]
        dataset = dataset_named(folder)
        pairs = read_dataset(tmp_path, dataset, max_pairs=GLUE_FACTORY.max_pairs_per_scene)
        assert len(pairs) == min(sizes[folder], 200)
        drawn = {f"s{dataset.separator}{Path(pair.image0).stem.split(dataset.separator)[1]}" for pair in pairs}
        assert drawn == {name.rpartition(dataset.separator)[0] for name in names}
