"""Posed sets in their usual layouts: pairs are those asked for, truth is the scene's own, broken files are named."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim import codecs
from gim.datasets.manifest import PosedKind
from gim.errors import ConfigError, CorruptObject, GimError, InvalidInput, UnsafeInput
from gim.records import Float64Array
from gim.synthetic.truth import transfer
from gim.training.data.posed.layouts import list_scenes, read_scene
from gim.training.data.posed.options import PosedOptions, described, options_of
from gim.training.data.posed.scene import PosedScene, choose_pairs, index_sha256
from gim.training.samples import DepthView, Labels, Posed, Sample, SampleSkipped
from tests.unit.benchmarks.building.posed_sources import NUM_VIEWS, SIZE, room, write_colmap
from tests.unit.training.data.posed.layout_files import carry, large_image, write_folder, write_megadepth, write_scannet


def opened(kind: PosedKind, root: Path, **given_options: Any) -> PosedScene:
    options = options_of(kind, given_options)
    (files,) = list_scenes(kind, root, options)
    return read_scene(kind, files, options)


def views_of(sample: Sample) -> tuple[int, int]:
    """Which views of the room a pair is of, by its name."""
    first, second = (int(Path(word).stem) for word in sample.name.split("-"))
    return (first // 10, second // 10) if second >= 10 else (first, second)


def carried(truth: Posed) -> tuple[Float64Array, Float64Array]:
    """Where the pixels of depth map 0 lie in the sample's images 0 and 1, by the truth alone."""
    height, width = truth.view0.depth.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    places = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    depth = truth.view0.depth.ravel().astype(np.float64)
    places, depth = places[depth > 0], depth[depth > 0]
    rays = np.column_stack([places, np.ones(len(places))]) @ np.linalg.inv(truth.view0.K).T
    points = (rays * depth[:, None]) @ truth.T_0to1[:3, :3].T + truth.T_0to1[:3, 3]
    pixels = carry((points / points[:, 2:])[:, :2], truth.view1.K)
    return carry(places, truth.view0.to_image), carry(pixels, truth.view1.to_image)


def assert_true(sample: Sample, *, within_px: float = 0.05) -> None:
    """The truth of a sample is the room's own, at every pixel that both views see."""
    first, second = views_of(sample)
    assert isinstance(sample.truth, Posed)
    points0, points1 = carried(sample.truth)
    exact, is_visible = transfer(room().scene.geometry, room().cameras[first], room().cameras[second], points0)
    assert np.count_nonzero(is_visible) > 1000
    assert np.abs(points1 - exact)[is_visible].max() < within_px


def reason_of(scene: PosedScene, index: int) -> str:
    """Why a pair gives no sample; empty when it gives one."""
    try:
        scene.read(index)
    except SampleSkipped as skipped:
        return skipped.reason
    return ""


@pytest.mark.parametrize("form", ["overlap_matrix", "pair_infos", "pairs"])
def test_megadepth_is_read_in_each_of_its_forms(tmp_path: Path, form: str) -> None:
    scene = opened("megadepth", write_megadepth(tmp_path, form=form))
    assert len(scene) == 15
    samples = [scene.read(index) for index in range(len(scene))]
    assert {views_of(sample) for sample in samples} == {(i, j) for j in range(NUM_VIEWS) for i in range(j)}
    for sample in samples[:3]:
        assert_true(sample)
        assert (sample.image0 == room().images[views_of(sample)[0]]).all()


def test_megadepth_keeps_to_the_overlaps_asked_for(tmp_path: Path) -> None:
    root = write_megadepth(tmp_path)
    scene = opened("megadepth", root, min_overlap=0.3, max_overlap=0.5)
    apart = {abs(i - j) for i, j in (views_of(scene.read(index)) for index in range(len(scene)))}
    assert apart == {2, 3}
    assert len(opened("megadepth", root, min_overlap=0.9, max_overlap=1.0)) == 0


def test_scannet_is_read_with_millimetres_and_large_colour(tmp_path: Path) -> None:
    root = write_scannet(tmp_path)
    scene = opened("scannet", root)
    assert len(scene) == 15  # that of frame 5 is left out
    sample = scene.read(0)
    assert_true(sample)
    assert sample.image0.shape == room().images[0].shape
    assert (sample.image0 == cv2.resize(large_image(0), SIZE, interpolation=cv2.INTER_AREA)).all()
    reasons = [reason_of(scene, index) for index in range(len(scene))]
    assert [reasons.count(reason) for reason in ("", "no_pose")] == [10, 5]


def test_scannets_intrinsics_may_lie_in_the_scene(tmp_path: Path) -> None:
    assert_true(opened("scannet", write_scannet(tmp_path, in_scene=True)).read(3))


@pytest.mark.parametrize(("suffix", "options"), [(".npy", {}), (".png", {"depth_units": "5000"})])
def test_a_folder_of_pairs_with_depth_is_read(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    scene = opened("posed", write_folder(tmp_path / "room", suffix=suffix), **options)
    assert len(scene) == 15
    assert_true(scene.read(0))
    with pytest.raises(SampleSkipped, match="no_depth"):
        scene.read(4)
    # Pairs whose overlap nobody knows are taken whatever is asked for; of the others those that have it.
    assert len(opened("posed", tmp_path / "room", min_overlap=0.5, max_overlap=0.65)) == 5 + 4


def test_a_model_of_colmap_labels_the_points_that_two_images_see(tmp_path: Path) -> None:
    write_colmap(tmp_path / "room")
    scene = opened("colmap", tmp_path / "room", min_points=20, max_overlap=1.0)
    assert len(scene) == 15
    for index in (0, 7):
        sample = scene.read(index)
        assert isinstance(sample.truth, Labels)
        points = sample.truth.points
        first, second = views_of(sample)
        exact, is_visible = transfer(
            room().scene.geometry, room().cameras[first], room().cameras[second], points[:, :2].astype(np.float64)
        )
        assert len(points) >= 20
        assert is_visible.mean() > 0.95
        assert np.abs(points[:, 2:] - exact)[is_visible].max() < 0.05


def test_keypoints_that_miss_their_point_are_left_out(tmp_path: Path) -> None:
    import pycolmap

    write_colmap(tmp_path / "room")
    model = tmp_path / "room" / "sparse" / "0"
    whole = opened("colmap", tmp_path / "room", min_points=20, max_overlap=1.0).read(0)
    reconstruction = pycolmap.Reconstruction(str(model))
    moved = reconstruction.images[1]
    for point in list(moved.points2D)[::2]:
        point.xy = np.asarray(point.xy) + 3.0
    reconstruction.write(str(model))
    scene = opened("colmap", tmp_path / "room", min_points=5, max_overlap=1.0)
    fewer = scene.read(0)
    assert isinstance(whole.truth, Labels)
    assert isinstance(fewer.truth, Labels)
    assert 0 < len(fewer.truth.points) < 0.8 * len(whole.truth.points)
    kept = {tuple(row) for row in np.round(whole.truth.points, 3)}
    assert all(tuple(row) in kept for row in np.round(fewer.truth.points, 3))


# --- which pairs ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.one_of(st.just(np.nan), st.floats(0, 1)), max_size=60),
    st.integers(1, 40),
    st.sampled_from([0.1, 0.25, 1.0]),
)
def test_pairs_are_drawn_evenly_over_bins(overlaps: list[float], limit: int, width: float) -> None:
    values = np.array(overlaps, np.float64)
    options = PosedOptions(min_overlap=0.1, max_overlap=0.8, overlap_bin=width, pairs=limit)
    chosen = choose_pairs(values, options, "scene")
    wanted = [i for i, value in enumerate(overlaps) if np.isnan(value) or 0.1 <= value <= 0.8]
    assert set(chosen) <= set(wanted)
    assert len(chosen) == len(set(chosen)) == min(len(wanted), limit)
    assert list(chosen) == sorted(chosen) == list(choose_pairs(values, options, "scene"))
    bins = {i: -1 if np.isnan(overlaps[i]) else int(overlaps[i] // width) for i in wanted}
    taken = {bin_: sum(bins[i] == bin_ for i in chosen) for bin_ in bins.values()}
    most = max(taken.values(), default=0)
    for bin_, count in taken.items():
        has_more = sum(other == bin_ for other in bins.values()) > count
        assert count >= most - 1 or not has_more


def test_other_scenes_draw_others() -> None:
    overlaps, options = np.full(1000, 0.5), PosedOptions(pairs=10)
    assert list(choose_pairs(overlaps, options, "a")) != list(choose_pairs(overlaps, options, "b"))


def test_options_are_made_again_of_what_a_manifest_says() -> None:
    options = options_of("megadepth", {"without": "0015+0022", "pairs": "500", "max_overlap": "0.6"})
    assert (options.without, options.pairs, options.min_overlap) == (("0015", "0022"), 500, 0.01)
    assert options_of("megadepth", described("megadepth", options)) == options
    assert "frame_step" not in described("megadepth", options)


@pytest.mark.parametrize(
    ("kind", "given_options", "why"),
    [
        ("megadepth", {"max_overlaps": "0.5"}, "no option 'max_overlaps'.*max_overlap"),
        ("megadepth", {"min_points": "3"}, "no option 'min_points'"),
        ("scannet", {"pairs": "many"}, "option pairs = 'many'"),
        ("scannet", {"pairs": "0"}, "at least 1"),
        ("posed", {"min_overlap": "0.9", "max_overlap": "0.2"}, "min_overlap <= max_overlap"),
        ("posed", {"depth_units": "0"}, "above 0"),
    ],
)
def test_options_that_say_nothing_are_refused(kind: PosedKind, given_options: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        options_of(kind, given_options)


def test_scenes_are_chosen_by_name(tmp_path: Path) -> None:
    for scene in ("0001", "0015"):
        write_megadepth(tmp_path, scene=scene)
    names = [files.name for files in list_scenes("megadepth", tmp_path, options_of("megadepth", {"without": "0015"}))]
    assert names == ["0001"]
    with pytest.raises(InvalidInput, match="has no scene 0022"):
        list_scenes("megadepth", tmp_path, options_of("megadepth", {"without": "0022"}))
    with pytest.raises(InvalidInput, match="no scene is left of 2"):
        list_scenes("megadepth", tmp_path, options_of("megadepth", {"without": "0001+0015"}))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["megadepth", "scannet", "colmap", "posed"])
def test_a_folder_of_something_else_is_refused_by_name(tmp_path: Path, kind: PosedKind) -> None:
    with pytest.raises(InvalidInput, match=str(tmp_path)):
        list_scenes(kind, tmp_path, options_of(kind, {}))
    with pytest.raises(InvalidInput, match="nowhere is no folder"):
        list_scenes(kind, tmp_path / "nowhere", options_of(kind, {}))


class _Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("a pickle was run",)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _unsafe(path: Path) -> None:
    arrays = dict(np.load(path, allow_pickle=True))
    arrays["poses"] = np.array([_Runs()] * 7, object)
    np.savez(path, allow_pickle=True, **arrays)


@pytest.mark.parametrize(
    ("file", "damage", "kind"),
    [
        ("output/0015.npz", _cut, InvalidInput),
        ("output/0015.npz", _unsafe, UnsafeInput),
        ("MegaDepth_v1/0015/dense0/depths/0.h5", _cut, CorruptObject),
        ("MegaDepth_v1/0015/dense0/depths/0.h5", Path.unlink, CorruptObject),
        ("Undistorted_SfM/0015/images/0.png", _cut, CorruptObject),
        ("Undistorted_SfM/0015/images/0.png", Path.unlink, CorruptObject),
    ],
)
def test_a_broken_file_of_megadepth_is_named(
    tmp_path: Path, file: str, damage: Callable[[Path], None], kind: type[GimError]
) -> None:
    damage(write_megadepth(tmp_path) / file)
    with pytest.raises(kind, match=Path(file).name) as caught:
        opened("megadepth", tmp_path).read(0)
    assert "\n" not in str(caught.value)


def test_depth_of_another_shape_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    np.save(tmp_path / "room" / "depth" / "1.npy", np.ones((60, 60), np.float32))
    with pytest.raises(CorruptObject, match=r"1\.npy: 60x60 pixels for an image of 160x120"):
        opened("posed", tmp_path / "room").read(0)


def test_a_set_without_depth_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    shutil.rmtree(tmp_path / "room" / "depth")
    with pytest.raises(CorruptObject, match=r"depth: has no depth map of images/0\.png; option depth"):
        opened("posed", tmp_path / "room")


def test_broken_files_of_scannet_are_named(tmp_path: Path) -> None:
    root = write_scannet(tmp_path)
    scene = root / "train" / "scene0038_02"
    (scene / "pose" / "0.txt").write_text("1 2 3")
    with pytest.raises(CorruptObject, match=r"pose/0\.txt"):
        opened("scannet", root).read(0)
    (root / "intrinsics.npz").unlink()
    with pytest.raises(CorruptObject, match=r"intrinsic_depth\.txt: cannot be read"):
        opened("scannet", root)
    shutil.rmtree(scene)
    with pytest.raises(InvalidInput, match="is of a scene that is not in"):
        opened("scannet", root)


def test_a_broken_model_of_colmap_is_named(tmp_path: Path) -> None:
    write_colmap(tmp_path / "room")
    (tmp_path / "room" / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(CorruptObject, match="option images says where"):
        opened("colmap", tmp_path / "room")
    opened("colmap", tmp_path / "room", images="../elsewhere")


@pytest.mark.parametrize("part", ["images", "points3D"])
@pytest.mark.parametrize("kept", [0, 100, -1, -40])
def test_a_model_of_colmap_that_was_cut_off_is_named(tmp_path: Path, part: str, kept: int) -> None:
    write_colmap(tmp_path / "room", num_points=60)
    path = tmp_path / "room" / "sparse" / "0" / f"{part}.bin"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorruptObject, match=rf"{part}\.bin: cut off"):
        opened("colmap", tmp_path / "room")


def test_an_index_of_several_files_is_hashed_with_their_names(tmp_path: Path) -> None:
    write_colmap(tmp_path / "room")
    (files,) = list_scenes("colmap", tmp_path / "room", options_of("colmap", {}))
    before = index_sha256(files.index)
    path = files.index[-1]
    path.write_bytes(path.read_bytes() + b"x")
    assert index_sha256(files.index) != before
    with pytest.raises(CorruptObject, match="cannot be read"):
        index_sha256([tmp_path / "nowhere"])


def test_nothing_is_read_before_it_is_used(tmp_path: Path) -> None:
    write_megadepth(tmp_path)
    shutil.rmtree(tmp_path / "Undistorted_SfM")
    assert len(opened("megadepth", tmp_path)) == 15


def test_depth_that_is_not_known_is_zero(tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    depth = np.full((120, 160), np.nan, np.float32)
    depth[60:] = 2.0
    depth[100:] = -1.0
    np.save(tmp_path / "room" / "depth" / "0.npy", depth)
    truth = opened("posed", tmp_path / "room").read(0).truth
    assert isinstance(truth, Posed)
    assert isinstance(truth.view0, DepthView)
    assert np.unique(truth.view0.depth).tolist() == [0.0, 2.0]
    assert codecs.decode_image((tmp_path / "room" / "images" / "0.png").read_bytes()).shape == (120, 160, 3)
