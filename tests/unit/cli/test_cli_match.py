import json

import cv2
import numpy as np
import pytest

from gim import codecs
from gim.cli.main import run_command
from gim.cli.match import declared_size
from gim.geometry.homography import apply_homography
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
    assert picture.shape == (240, 320 + 8 + 320, 3)
    image0 = codecs.decode_image(images[0].read_bytes())
    assert warped.shape == image0.shape
    seen = warped.max(axis=2) > 0
    assert np.corrcoef(warped[seen].ravel(), image0[seen].ravel())[0, 1] > 0.9
    assert np.corrcoef(np.roll(warped, 3, axis=1)[seen].ravel(), image0[seen].ravel())[0, 1] < 0.7


def test_without_files_the_numbers_are_printed(images, capsys):
    assert run_command(["match", *map(str, images)]) == 0
    assert "inliers" in capsys.readouterr().out


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


def test_a_name_that_says_no_format_is_refused_before_any_work(tmp_path, capsys):
    assert run_command(["match", "absent0.png", "absent1.png", "--out", str(tmp_path / "match.gif")]) == 2
    assert "match.gif" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--warp", "--npz"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, option):
    assert run_command(["match", "absent0.png", "absent1.png", option, str(tmp_path / "absent" / "match.png")]) == 2
    assert f"there is no folder {tmp_path / 'absent'}" in capsys.readouterr().err
    (tmp_path / "folder.png").mkdir()
    assert run_command(["match", "absent0.png", "absent1.png", option, str(tmp_path / "folder.png")]) == 2
    assert "it is a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_size_that_an_image_states_is_read_before_it_is_decoded(suffix):
    encode = codecs.encode_png if suffix == ".png" else codecs.encode_jpeg
    assert declared_size(encode(np.zeros((31, 57, 3), np.uint8))) == (57, 31)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00\xff", b"BM" * 20])
def test_an_image_that_states_no_size_is_left_to_the_decoder(data):
    assert declared_size(data) == (0, 0)


def test_an_image_too_large_is_refused_unread(images, tmp_path, capsys):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bytes(30_000, 30_000))
    assert run_command(["match", str(images[0]), str(bomb)]) == 2
    assert "30000x30000 pixels exceed limits.max_pixels" in capsys.readouterr().err
    assert run_command(["match", *map(str, images), "--set", "limits.max_pixels=1000"]) == 2


def test_an_unknown_matcher_is_refused_with_those_there_are(images, capsys):
    assert run_command(["match", *map(str, images), "--matcher", "rootsfit"]) == 2
    assert "rootsift" in capsys.readouterr().err
