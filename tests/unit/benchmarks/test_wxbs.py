"""WxBS: which pairs a subset has, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.wxbs import read_wxbs
from gim.errors import InvalidInput
from tests.two_view_sets import write_wxbs

NAMES = ("WGABS/kremlin", "WGABS/petrzin", "WGBS/room")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_wxbs(tmp_path / "v1.1", NAMES)


def test_a_pair_has_its_images_its_kind_and_what_was_marked(root: Path) -> None:
    pair = read_wxbs(root)[1]
    assert (pair.name, pair.group, pair.image0, pair.image1) == (
        "WGBS/room",
        "WGBS",
        "WGBS/room/01.png",
        "WGBS/room/02.png",
    )
    np.testing.assert_allclose(pair.points, np.loadtxt(root / "WGBS/room/corrs.txt"))


def test_validation_is_not_tested_on(root: Path) -> None:
    found = {subset: [pair.name for pair in read_wxbs(root, subset)] for subset in ("test", "val", "all")}
    assert found == {"test": ["WGABS/kremlin", "WGBS/room"], "val": ["WGABS/petrzin"], "all": list(NAMES)}


def test_the_folder_above_will_do(root: Path) -> None:
    assert read_wxbs(root.parent)[0].image0 == "v1.1/WGABS/kremlin/01.png"


def test_what_is_wrong_is_named(root: Path) -> None:
    marks = root / "WGBS/room/corrs.txt"
    lines = marks.read_text().splitlines()
    for text, said in (
        ("\n".join([*lines[:3], "1 2 3"]), "corrs.txt, line 4: expected 4 finite numbers"),
        ("\n".join([*lines[:3], "1 2 3 four"]), "corrs.txt, line 4: could not convert"),
        ("\n".join(lines[:7]), "holds 7 correspondences, fewer than 8"),
    ):
        marks.write_text(text)
        with pytest.raises(InvalidInput, match=said):
            read_wxbs(root)
    (root / "WGBS/room/02.png").unlink()
    with pytest.raises(InvalidInput, match=r"WGBS/room: the image 02.png is not there"):
        read_wxbs(root)
    with pytest.raises(InvalidInput, match="no subset 'train' of WxBS: test, val, all"):
        read_wxbs(root, "train")
    with pytest.raises(InvalidInput, match="holds no pair of WxBS's subset test"):
        read_wxbs(root / "WGABS")
