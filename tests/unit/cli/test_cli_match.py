import json
import re

import cv2
import numpy as np
import pytest

from gim import codecs
from gim.cli.main import run_command
from gim.geometry.homography import apply_homography
from gim.geometry.pose import translation_error_deg
from gim.photos.matching import names_with_warp
from tests.matcher_files import files_of
from tests.unit.video.media import png_bytes

H01 = np.array([[0.9, -0.12, 30.0], [0.1, 0.92, 12.0], [1e-4, 5e-5, 1.0]])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two views of one plane, and H01 between them."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image0 = cv2.GaussianBlur(cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    image1 = cv2.warpPerspective(image0, H01, (320, 240))
    for name, image in (("0.png", image0), ("1.png", image1)):
        (folder / name).write_bytes(codecs.encode_png(image))
    return folder / "0.png", folder / "1.png"


def test_two_views_of_a_plane_give_its_homography_a_picture_and_a_warp(images, tmp_path, capsys):
    out, warp, npz = tmp_path / "match.png", tmp_path / "warp.jpg", tmp_path / "match.npz"
    arguments = ["match", *map(str, images), "--out", str(out), "--warp", str(warp), "--npz", str(npz), "--json"]
    assert run_command(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["matcher"], summary["out"], summary["warp"], summary["npz"]) == (
        "rootsift",
        str(out),
        str(warp),
        str(npz),
    )
    assert summary["inliers"] > 50

    with np.load(npz) as stored:
        rows, inliers = stored["correspondences"], stored["inliers"]
        assert rows.dtype == np.float32
        assert (len(rows), inliers.sum()) == (summary["matches"], summary["inliers"])
        error = np.linalg.norm(apply_homography(rows[inliers, :2], H01) - rows[inliers, 2:], axis=1)
        assert np.median(error) < 0.5
        np.testing.assert_allclose(stored["H01"], summary["H01"])
    corners = np.array([[0, 0], [319, 0], [0, 239], [319, 239]])
    assert np.abs(apply_homography(corners, summary["H01"]) - apply_homography(corners, H01)).max() < 3

    picture, warped = codecs.decode_image(out.read_bytes()), codecs.decode_image(warp.read_bytes())
    assert picture.shape[1] == 320 + 8 + 320
    assert 240 < picture.shape[0] < 300  # the title is above
    image0 = codecs.decode_image(images[0].read_bytes())
    assert warped.shape == image0.shape
    seen = warped.max(axis=2) > 0
    assert np.corrcoef(warped[seen].ravel(), image0[seen].ravel())[0, 1] > 0.9
    assert np.corrcoef(np.roll(warped, 3, axis=1)[seen].ravel(), image0[seen].ravel())[0, 1] < 0.7


def test_without_files_the_numbers_are_printed(images, capsys):
    assert run_command(["match", *map(str, images)]) == 0
    assert re.fullmatch(r"\d+ matches, \d+ inliers, \d+\.\d\d s on cpu\n", capsys.readouterr().out)


def test_a_matchers_own_settings_reach_it(images, capsys):
    assert run_command(["match", *map(str, images), "--set", "matcher.rootsift.max_keypoints=20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["matches"] <= 20


def test_images_that_share_nothing_have_no_warp_and_nothing_is_written(images, tmp_path, capsys):
    blank = tmp_path / "blank.png"
    blank.write_bytes(codecs.encode_png(np.full((100, 100), 128, np.uint8)))
    out, warp = tmp_path / "out.png", tmp_path / "warp.png"
    assert run_command(["match", str(images[0]), str(blank), "--out", str(out), "--warp", str(warp)]) == 2
    assert "no homography" in capsys.readouterr().err
    assert not out.exists()
    assert not warp.exists()
    assert run_command(["match", str(images[0]), str(blank), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["F01"] is None
    assert out.exists()


@pytest.mark.parametrize(
    ("content", "word"), [(None, "No such file"), (b"", "not a readable image"), (b"hello", "not a readable image")]
)
def test_what_is_no_image_is_named(images, tmp_path, capsys, content, word):
    wrong = tmp_path / "wrong.png"
    if content is not None:
        wrong.write_bytes(content)
    assert run_command(["match", str(images[0]), str(wrong)]) == 2
    err = capsys.readouterr().err
    assert "wrong.png" in err
    assert word in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--out", "--warp", "--certainty", "--two-view"])
def test_a_name_that_says_no_format_is_refused_before_any_work(tmp_path, capsys, option):
    assert run_command(["match", "absent0.png", "absent1.png", option, str(tmp_path / "match.gif")]) == 2
    assert "match.gif: expected ." in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--warp", "--certainty", "--two-view", "--npz"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, option):
    name = "folder.ply" if option == "--two-view" else "folder.png"
    assert run_command(["match", "absent0.png", "absent1.png", option, str(tmp_path / "absent" / name)]) == 2
    assert f"there is no folder {tmp_path / 'absent'}" in capsys.readouterr().err
    (tmp_path / name).mkdir()
    assert run_command(["match", "absent0.png", "absent1.png", option, str(tmp_path / name)]) == 2
    assert "it is a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_image_too_large_is_refused_unread(images, tmp_path, capsys):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bytes(30_000, 30_000))
    assert run_command(["match", str(images[0]), str(bomb)]) == 2
    assert "30000x30000 pixels exceed limits.max_pixels" in capsys.readouterr().err
    assert run_command(["match", *map(str, images), "--set", "limits.max_pixels=1000"]) == 2


def test_an_unknown_matcher_is_refused_with_those_there_are(images, capsys):
    assert run_command(["match", *map(str, images), "--matcher", "rootsfit"]) == 2
    assert "rootsift" in capsys.readouterr().err


def test_a_matcher_without_a_warp_has_no_certainty_and_others_are_named(images, tmp_path, capsys):
    assert run_command(["match", *map(str, images), "--certainty", str(tmp_path / "certainty.png")]) == 2
    err = capsys.readouterr().err
    assert "matcher rootsift gives no dense warp" in err
    assert all(name in err for name in names_with_warp())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["dkm"])
def test_a_dense_matcher_draws_its_matches_and_its_certainty(images, tmp_path, capsys, name):
    settings = files_of(name, tmp_path, None).settings
    sets = [f"matcher.{name}.{field}={value}" for field, value in settings.items()]
    out, certainty = tmp_path / "out.png", tmp_path / "certainty.png"
    arguments = ["match", *map(str, images), "--matcher", name, "--out", str(out), "--certainty", str(certainty)]
    assert run_command([*arguments, *(word for text in sets for word in ("--set", text)), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["certainty"] == str(certainty)
    assert summary["device"]
    for path in (out, certainty):
        assert codecs.decode_image(path.read_bytes()).shape[1] >= 640


def test_notes_say_what_was_done_to_an_image(images, tmp_path, capsys):
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), cv2.imread(str(images[0])).astype(np.uint16) * 257)
    assert run_command(["match", str(deep), str(images[1])]) == 0
    assert f"{deep}: uint16 pixels, 0 to 65535 scaled to 8 bits" in capsys.readouterr().out
    assert run_command(["match", str(deep), str(images[1]), "--json"]) == 0
    deep_matches = json.loads(capsys.readouterr().out)["matches"]
    assert run_command(["match", *map(str, images), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["matches"] == deep_matches


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 500)])
def test_images_of_hardly_any_pixels_match_nothing_and_are_drawn(images, tmp_path, capsys, size):
    small, out = tmp_path / "small.png", tmp_path / "out.png"
    small.write_bytes(codecs.encode_png(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)))
    assert run_command(["match", str(small), str(small), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inliers"] == 0
    assert codecs.decode_image(out.read_bytes()).shape[1] >= 640


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Two views of textured squares at many depths; between them the camera turns by 6 degrees and moves right."""
    folder = tmp_path_factory.mktemp("views")
    K = np.array([[400.0, 0, 319.5], [0, 400.0, 239.5], [0, 0, 1]])
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (60, 12, 12, 3), dtype=np.uint8)
    patches = [cv2.resize(patch, (96, 96), interpolation=cv2.INTER_CUBIC) for patch in coarse]
    places = sorted(rng.uniform([-3, -2, 4], [3, 2, 9], (60, 3)).tolist(), key=lambda place: -place[2])
    R = cv2.Rodrigues(np.deg2rad([0.0, -6.0, 0.0]))[0]
    for name, turn, shift in (("0.png", np.eye(3), np.zeros(3)), ("1.png", R, np.array([0.7, 0.0, 0.0]))):
        image = np.full((480, 640, 3), 128, np.uint8)
        for place, patch in zip(places, patches, strict=True):
            corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]) + place
            seen = (corners @ turn.T + shift) @ K.T
            square = np.array([[0, 0], [95, 0], [95, 95], [0, 95]], np.float32)
            H = cv2.getPerspectiveTransform(square, (seen[:, :2] / seen[:, 2:]).astype(np.float32))
            cv2.warpPerspective(patch, H, (640, 480), image, borderMode=cv2.BORDER_TRANSPARENT)
        (folder / name).write_bytes(codecs.encode_png(image))
    return folder / "0.png", folder / "1.png"


def test_two_views_become_points_and_cameras(views, tmp_path, capsys):
    ply = tmp_path / "scene.ply"
    arguments = ["match", *map(str, views), "--two-view", str(ply), "--k0", "400,400,319.5,239.5"]
    assert run_command([*arguments, "--json"]) == 0
    scene = json.loads(capsys.readouterr().out)["scene"]
    assert (scene["K0_from"], scene["K1_from"]) == ("given", "as camera 0")
    assert scene["rotation_deg"] == pytest.approx(6, abs=0.2)
    T_0to1 = np.array(scene["T_0to1"])
    assert translation_error_deg(T_0to1[:3, 3], [1, 0, 0]) < 2
    assert f"element vertex {scene['points'] + 10 + 2 * 8 * 40}".encode() in ply.read_bytes()
    assert scene["points"] > 0.9 * scene["tried"] > 100

    assert run_command(arguments[:-2]) == 0
    out = capsys.readouterr().out
    assert out.count("(guessed, focal length 1.2 x the longer side)") == 2
    assert "camera 0: 768.0,768.0,319.5,239.5" in out


def test_a_plane_has_no_two_view_scene_and_nothing_is_written(images, tmp_path, capsys):
    out, ply = tmp_path / "out.png", tmp_path / "scene.ply"
    assert run_command(["match", *map(str, images), "--out", str(out), "--two-view", str(ply)]) == 2
    err = capsys.readouterr().err
    assert "one plane" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,500,320,240", "nan,1,1,1", ""])
def test_intrinsics_that_are_none_are_named_before_any_work(capsys, text):
    assert run_command(["match", "absent0.png", "absent1.png", "--k1", text]) == 2
    err = capsys.readouterr().err
    assert "--k1" in err
    assert "estimated" in err
