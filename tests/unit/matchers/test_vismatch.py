"""The bridge to the package vismatch, against a stand-in of the same public names (see `vismatch_stand_in`).

What it cannot show: that each of the real package's models gives good matches.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gim import codecs, keys
from gim.cli.main import run_command
from gim.errors import ConfigError, InvalidInput, LicenceRefused, ShapeError, Unavailable, UnknownMatcher
from gim.matchers.network import ModelResources, WarpMatcher
from gim.matchers.registry import load_matcher, matcher_class, matcher_names, matcher_status, weight_names
from gim.records import ImagePair
from gim.weights.config import WeightsConfig
from tests.synthetic import write_wall

STAND_IN = Path(__file__).with_name("vismatch_stand_in.py")


def install(folder, version="1.4.0"):
    """The stand-in as an installed package of a folder."""
    (folder / "vismatch").mkdir()
    (folder / "vismatch" / "__init__.py").write_text(STAND_IN.read_text())
    (folder / f"vismatch-{version}.dist-info").mkdir()
    (folder / f"vismatch-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vismatch\nVersion: {version}\n"
    )


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The stand-in, installed for one test."""
    pytest.importorskip("torch")
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("vismatch", None)


@pytest.fixture
def nothing_installed(monkeypatch):
    """Where nobody has installed the package."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "vismatch", raising=False)


@functools.cache
def texture(offset=(0.0, 0.0)):
    """A grey image of blobs, 320 x 240, in which the point (x, y) of the texture lies at (x, y) + offset."""
    rng = np.random.default_rng(1)
    centres = rng.uniform((-20, -20), (340, 260), (4000, 2)) + offset
    sigma, amplitude = rng.uniform(1.5, 5, 4000), rng.normal(0, 25, 4000)
    rows, columns = (
        np.exp(-(((np.arange(length)[None] - centre[:, None]) / sigma[:, None]) ** 2) / 2)
        for length, centre in ((240, centres[:, 1]), (320, centres[:, 0]))
    )
    image = np.clip(np.rint(128 + (rows * amplitude[:, None]).T @ columns), 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image


def colour(image):
    return np.stack([image] * 3, axis=2)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_installed")
def test_where_the_package_is_missing_the_message_says_what_to_install():
    assert matcher_status("vismatch:xfeat").startswith("needs the package vismatch: pip install vismatch")
    with pytest.raises(UnknownMatcher, match=r"pip install vismatch .*an environment of its own"):
        load_matcher("vismatch:xfeat")


@pytest.mark.usefixtures("package")
def test_naming_a_model_imports_nothing_of_the_package():
    assert matcher_status("vismatch:superpoint-lightglue") == ""
    assert not issubclass(matcher_class("vismatch:sift-nn"), WarpMatcher)
    assert weight_names("vismatch:sift-nn") == ()
    assert "vismatch" not in sys.modules


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", ["vismatch:superpoint_lightglue", "vismatch:superpoint-lightglu"])
def test_an_unknown_model_is_told_the_nearest(name):
    with pytest.raises(UnknownMatcher, match=r"\(did you mean vismatch:superpoint-lightglue\?\)"):
        load_matcher(name)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", ["vismatch:", "vismatch:../x", "vismatch", "bridges", "other:sift-nn"])
def test_what_is_no_model_is_refused(name):
    with pytest.raises(UnknownMatcher, match="no matcher"):
        load_matcher(name)


def test_a_list_that_is_made_while_importing_is_found_too(package):
    source = STAND_IN.read_text() + "\navailable_models = sorted(set(available_models))\n"
    (package / "vismatch" / "__init__.py").write_text(
        source.replace("available_models = [", "listed = [").replace("set(available_models)", "set(listed)")
    )
    assert matcher_status("vismatch:sift-nn") == ""


def test_a_package_that_cannot_be_imported_says_so_in_one_line(package):
    (package / "vismatch" / "__init__.py").write_text("import no_such_package_of_its_own\n")
    with pytest.raises(UnknownMatcher, match="the package vismatch cannot be imported: ModuleNotFoundError: No module"):
        load_matcher("vismatch:sift-nn")


@pytest.mark.usefixtures("package")
def test_names_and_ids_of_a_bridged_matcher_are_safe_in_keys():
    matcher = load_matcher("vismatch:sift-nn")
    assert matcher.name == "vismatch-sift-nn"
    assert matcher.name not in matcher_names()
    assert keys.validate_key(keys.config_id(matcher.name, *matcher.identity)).startswith("vismatch-sift-nn-")
    assert matcher.name != load_matcher("vismatch:unruly").name


def test_the_id_changes_with_the_version_and_the_settings(package):
    def made(**settings):
        return keys.config_id("x", *load_matcher("vismatch:sift-nn", settings).identity)

    first = made()
    assert made() == first
    assert made(max_keypoints=100) != first
    (package / "vismatch-1.4.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vismatch\nVersion: 1.5.0\n"
    )
    assert made() != first


@pytest.mark.usefixtures("package")
def test_the_teacher_admits_that_nobody_knows_the_licence():
    teacher = load_matcher("vismatch:sift-nn").teacher
    assert (teacher.matcher, teacher.licence) == ("vismatch-sift-nn", "unknown: see the package")
    assert [(item.name, item.licence) for item in teacher.weights] == [
        ("vismatch:sift-nn 1.4.0", "unknown: see the package")
    ]


@pytest.mark.usefixtures("package")
def test_only_permissive_weights_refuses_it_and_names_the_way_out():
    resources = ModelResources(weights=WeightsConfig(licences="permissive"))
    with pytest.raises(LicenceRefused, match=r"vismatch:sift-nn: .*--set weights\.licences=any allows"):
        load_matcher("vismatch:sift-nn", resources=resources)


@pytest.mark.usefixtures("package")
def test_offline_has_to_be_told_to_the_package_too(monkeypatch):
    resources = ModelResources(weights=WeightsConfig(offline=True))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE=1"):
        load_matcher("vismatch:sift-nn", resources=resources)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_matcher("vismatch:sift-nn", resources=resources)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("wrong", [{"max_keypoints": 0}, {"max_side_px": -1}, {"origin": "edge"}, {"threshold": 1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        load_matcher("vismatch:sift-nn", wrong)


# --- matching ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("package")
def test_a_shift_is_found_in_pixels_of_the_images_as_given():
    pair = colour(texture()), colour(texture(offset=(6.25, -3.5)))
    found = load_matcher("vismatch:sift-nn").match(*pair)
    shift = np.median(found.points[:, 2:] - found.points[:, :2], axis=0)
    assert len(found.points) > 100
    assert np.abs(shift - (6.25, -3.5)).max() < 0.05
    assert found.points.dtype == found.confidence.dtype == np.float32
    assert (found.confidence == 1).all()
    assert found.matches is None


@pytest.mark.usefixtures("package")
def test_large_images_are_made_smaller_and_positions_brought_back():
    matcher = load_matcher("vismatch:sift-nn", {"max_side_px": 160})
    found = matcher.match(texture(), texture(offset=(8, 4)))
    shift = np.median(found.points[:, 2:] - found.points[:, :2], axis=0)
    assert np.abs(shift - (8, 4)).max() < 0.1
    at_half = found.points[:, 0]
    assert at_half.max() > 250  # not left in the pixels of the smaller image
    exact = load_matcher("vismatch:sift-nn").match(texture(), texture()).points[:, :2]
    gaps = np.linalg.norm(found.points[:, None, :2] - exact[None], axis=2).min(axis=1)
    assert np.median(gaps) < 0.5  # and not off by half a pixel of it, which is one of the given


@pytest.mark.usefixtures("package")
def test_corner_origin_moves_positions_by_half_a_pixel():
    centre, corner = (
        load_matcher("vismatch:sift-nn", {"origin": origin}).match(texture(), texture(offset=(2, 1))).points
        for origin in ("centre", "corner")
    )
    np.testing.assert_allclose(corner, centre - 0.5, atol=1e-4)


@pytest.mark.usefixtures("package")
def test_grey_and_colour_of_one_image_give_the_same():
    matcher = load_matcher("vismatch:sift-nn")
    grey, colours = (matcher.match(form(texture()), form(texture(offset=(3, 2)))) for form in (lambda x: x, colour))
    np.testing.assert_array_equal(grey.points, colours.points)


@pytest.mark.usefixtures("package")
def test_rows_are_inside_finite_and_each_once_with_confidence_from_0_to_1():
    found = load_matcher("vismatch:unruly").match(texture(), texture())
    np.testing.assert_array_equal(found.points, [[5, 6, 4, 4], [40, 30, 4, 4], [8, 7, 4, 4]])
    np.testing.assert_array_equal(found.confidence, np.float32([0.7, 1, 0]))


@pytest.mark.usefixtures("package")
def test_masked_pixels_are_black_to_the_model_and_hold_no_matches():
    matcher = load_matcher("vismatch:sift-nn")
    mask = np.full((240, 320), 255, np.uint8)
    mask[:, :160] = 0
    other = texture().copy()
    other[:, :160] = 255 - other[:, :160]  # what is behind the mask makes no difference
    masked, changed = (matcher.match(image, texture(offset=(4, 2)), mask) for image in (texture(), other))
    assert len(masked.points) > 50
    assert (np.rint(masked.points[:, 0]) >= 160).all()
    np.testing.assert_array_equal(masked.points, changed.points)
    behind = matcher.match(texture(), texture(offset=(4, 2)), None, mask)
    assert (np.rint(behind.points[:, 2]) >= 160).all()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    "image",
    [np.zeros((240, 320), np.uint8), np.full((240, 320, 3), 90, np.uint8), np.zeros((1, 1), np.uint8), texture()[:8]],
    ids=["black", "flat", "1x1", "8 rows"],
)
def test_images_without_anything_to_match_never_reach_the_model(image):
    matcher = load_matcher("vismatch:picky")
    assert matcher.match(image, texture()).points.shape == (0, 4)
    assert matcher.match(texture(), image).confidence.shape == (0,)
    assert "vismatch" not in sys.modules
    assert matcher.match(texture(), texture(), np.zeros((240, 320), np.uint8)).points.shape == (0, 4)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("wrong", [texture().astype(np.float32), texture()[None], np.zeros((9, 9, 4), np.uint8)])
def test_what_is_no_image_is_refused(wrong):
    with pytest.raises(ShapeError):
        load_matcher("vismatch:sift-nn").match(wrong, texture())


@pytest.mark.usefixtures("package")
def test_a_model_that_samples_gives_the_same_each_time_and_leaves_the_generator_alone():
    import torch

    matcher = load_matcher("vismatch:sampling")
    state = torch.random.get_rng_state()
    first, second = matcher.match_pairs([ImagePair(texture(), texture())] * 2)
    np.testing.assert_array_equal(first.points, second.points)
    assert len(first.points) == 50
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("picky", InvalidInput, r"^vismatch:picky failed on images of 320 x 240 and 320 x 240: ValueError: not .*1\)$"),
        ("greedy", Unavailable, "does not fit into the device's memory"),
        ("broken", UnknownMatcher, "^vismatch:broken cannot be loaded: RuntimeError: Matcher broken not yet supported"),
        ("away", Unavailable, "^vismatch:away cannot be loaded: ConnectionError: the weights' site"),
    ],
)
def test_what_goes_wrong_inside_the_package_is_one_clear_line(model, error, message):
    with pytest.raises(error, match=message):
        load_matcher(f"vismatch:{model}").match(texture(), texture())


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Two image files that overlap."""
    paths = tmp_path / "0.png", tmp_path / "1.png"
    for path, offset in zip(paths, ((0, 0), (5, 3)), strict=True):
        path.write_bytes(codecs.encode_png(colour(texture(offset=offset))))
    return [str(path) for path in paths]


@pytest.mark.usefixtures("package")
def test_gim_match_takes_its_name_and_prints_nothing_of_the_packages(pictures, capsys):
    words = ["match", *pictures, "--matcher", "vismatch:sift-nn", "--json"]
    assert run_command([*words, "--set", "matcher.vismatch:sift-nn.max_keypoints=300"]) == 0
    out = capsys.readouterr()
    assert 50 < json.loads(out.out)["inliers"] <= 300
    assert "HF repo not found" in out.err
    assert run_command([*words, "--certainty", "c.png"]) == 2
    assert "vismatch:sift-nn gives no dense warp" in capsys.readouterr().err


@pytest.mark.usefixtures("package")
def test_gim_ls_and_doctor_know_the_models(capsys, tmp_path):
    assert run_command(["ls", "matchers", "--json"]) == 0
    rows = {row["matcher"]: row for row in json.loads(capsys.readouterr().out)["matchers"]}
    assert rows["vismatch:superpoint-lightglue"]["runs_here"] == "yes"
    assert rows["vismatch:sift-nn"]["licence"] == "unknown: see the package"
    assert "vismatch" not in sys.modules
    for name, code in (("sift-nn", 0), ("sift-mm", 1)):
        assert run_command(["doctor", "--store", str(tmp_path), "--set", f"matchers=vismatch:{name}"]) == code
    assert "matcher vismatch:sift-mm: no matcher 'vismatch:sift-mm' (did you mean vismatch:sift-nn?)" in (
        capsys.readouterr().out
    )


def label(video, package, store, names, *words):
    """The summary of `gim run` in a process that has the stand-in."""
    command = [sys.executable, "-m", "gim", "run", str(video), "--store", str(store), "--json"]
    done = subprocess.run(
        [*command, "--matchers", ",".join(names), *words],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    (found,) = json.loads(done.stdout)["videos"]
    return found


@pytest.mark.slow
def test_a_video_is_labelled_by_two_of_them_beside_another(package, tmp_path):
    write_wall(tmp_path / "wall.mp4")
    names = ["rootsift", "vismatch:sift-nn", "vismatch:sampling"]
    video = label(tmp_path / "wall.mp4", package, tmp_path / "store", names)
    assert set(video["pairs_labelled"]) == set(names)
    assert video["pairs_labelled"]["vismatch:sift-nn"] > 0


@pytest.mark.slow
def test_a_video_waits_for_the_one_that_is_required(package, tmp_path):
    write_wall(tmp_path / "wall.mp4")
    required = ["--set", "required_matchers=vismatch:picky"]
    video = label(tmp_path / "wall.mp4", package, tmp_path / "store", ["rootsift", "vismatch:picky"], *required)
    assert video["status"] == "failed"
    assert "vismatch:picky failed on images of 320 x 240" in video["error"]
