"""Worst pairs are drawn from ZEB's folders, with what was matched in them; what cannot be drawn says why."""

import base64
import re

import numpy as np
import pytest

from gim import codecs
from gim.errors import InvalidInput
from gim.evaluation.comparison import MethodResults
from gim.evaluation.reports.contents import make_contents
from gim.evaluation.reports.drawings import draw_worst, encode
from gim.evaluation.reports.page import as_page
from gim.evaluation.reports.worst import worst_pairs
from tests.zeb_files import K0, pair_text, result

FORWARD = np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # to the side: lines are level
RIGHT = [[50, 60, 30, 60], [90, 100, 60, 100]]
WRONG = [[50, 60, 30, 160]]


@pytest.fixture
def zeb(tmp_path):
    folder = tmp_path / "zeb/gl3d"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        grey = np.full((240, 320, 3), 90, np.uint8)
        (folder / f"house_{name}.png").write_bytes(codecs.encode_png(grey))
    (folder / "house_0.txt").write_text(pair_text("a", "b", cameras=(K0, K0, FORWARD)) + "\n")
    return tmp_path / "zeb"


@pytest.fixture
def contents():
    pairs = (result("house#a#b", 100.0), result("house#b#c", 50.0))
    return make_contents([MethodResults("m", "gim-1", {"GL3D": [pairs]})])


def test_draw_worst_when_matches_are_known_then_draws_right_and_wrong_ones(zeb, contents):
    asked = []

    def correspondences_of(method, dataset, identifier):
        asked.append((method, dataset, identifier))
        return np.array([*RIGHT, *WRONG], np.float32)

    drawn, absent = draw_worst(zeb, worst_pairs(contents, "m", "GL3D", 5), correspondences_of)
    assert asked == [("m", "GL3D", "house#a#b")]
    assert drawn.words == "2 of 3 matches are right"
    green = (drawn.picture[..., 1] > 180) & (drawn.picture[..., 0] < 140)
    red = (drawn.picture[..., 0] > 150) & (drawn.picture[..., 1] < 100)
    assert green.any()
    assert red.any()
    assert (absent.picture, absent.words) == (None, "not drawn: zeb has no such pair")
    (bare, _) = draw_worst(zeb, worst_pairs(contents, "m", "GL3D", 5))
    assert bare.words == ""
    assert bare.picture.std() < drawn.picture.std()


def test_page_when_images_are_given_then_holds_them_and_says_what_is_not_there(zeb, contents):
    page = as_page(contents, images=zeb)
    (url,) = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    assert codecs.decode_image(base64.b64decode(url)).shape[1] == 648
    assert "not drawn: zeb has no such pair" in page


def test_draw_worst_when_an_image_is_damaged_then_names_it(zeb, contents):
    (zeb / "gl3d/house_b.png").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"house_b\.png"):
        draw_worst(zeb, worst_pairs(contents, "m", "GL3D", 5))
    with pytest.raises(InvalidInput, match="there is no such folder"):
        draw_worst(zeb / "nowhere", worst_pairs(contents, "m", "GL3D", 5))


def test_encode_when_pictures_are_many_then_keeps_the_budget():
    noise = np.random.default_rng(0).integers(0, 255, (300, 968, 3), dtype=np.uint8)
    fine, coarse = encode([noise]), encode([noise, noise], budget_bytes=250_000)
    assert sum(map(len, coarse)) * 3 / 4 <= 250_000
    assert len(coarse[0]) < len(fine[0])
    assert encode([]) == []
