"""HPatches: which sequences and pairs are read, and what is left out."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.hpatches import EXCLUDED, FOLDER, NUM_SEQUENCES, count_sequences, read_hpatches
from gim.errors import InvalidInput
from tests.two_view_sets import write_hpatches

SIZE = (32, 24)


def test_a_sequence_is_five_pairs_with_the_first_image(tmp_path: Path) -> None:
    pairs = read_hpatches(write_hpatches(tmp_path, ["v_wall", "i_wall"], size=SIZE))
    assert [pair.image1 for pair in pairs[:5]] == [f"i_wall/{number}.ppm" for number in range(2, 7)]
    assert {pair.image0 for pair in pairs} == {"i_wall/1.ppm", "v_wall/1.ppm"}
    assert [pair.group for pair in pairs] == ["illumination"] * 5 + ["viewpoint"] * 5
    assert pairs[0].size0 == pairs[0].size1 == SIZE
    np.testing.assert_allclose(pairs[0].H01, [[1, 0, 4], [0, 1, 1], [0, 0, 1]], atol=1e-12)
    assert count_sequences(pairs) == {"illumination": 1, "viewpoint": 1}


def test_images_are_named_from_the_folder_above_too(tmp_path: Path) -> None:
    write_hpatches(tmp_path / FOLDER, ["i_wall"], size=SIZE)
    assert read_hpatches(tmp_path)[0].image0 == f"{FOLDER}/i_wall/1.ppm"


def test_the_usual_eight_are_left_out_unless_others_are(tmp_path: Path) -> None:
    root = write_hpatches(tmp_path, ["i_wall", "v_wall", *EXCLUDED], size=SIZE)
    assert {pair.image0.split("/")[0] for pair in read_hpatches(root)} == {"i_wall", "v_wall"}
    assert len(read_hpatches(root, excluded=())) == 50
    assert len(read_hpatches(root, excluded=["i_wall"])) == 45
    illumination = sum(name.startswith("i_") for name in EXCLUDED)
    assert (NUM_SEQUENCES["illumination"] + illumination, NUM_SEQUENCES["viewpoint"] + 8 - illumination) == (57, 59)


def test_an_exclusion_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    root = write_hpatches(tmp_path, ["i_wall"], size=SIZE)
    with pytest.raises(InvalidInput, match=r"no sequence 'i_wal' to leave out \(did you mean i_wall\?\)"):
        read_hpatches(root, excluded=["i_wal"])
    with pytest.raises(InvalidInput, match="every sequence is left out"):
        read_hpatches(root, excluded=["i_wall"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("H_1_4", "expected the 9 numbers of a homography, got 0"),
        ("3.ppm", "3.ppm: not a readable image"),
    ],
)
def test_a_damaged_sequence_is_named(tmp_path: Path, spoil: str, said: str) -> None:
    root = write_hpatches(tmp_path, ["i_wall"], size=SIZE)
    (root / "i_wall" / spoil).write_bytes(b"")
    with pytest.raises(InvalidInput, match=f"i_wall.*{said}"):
        read_hpatches(root)
    (root / "i_wall" / spoil).unlink()
    with pytest.raises(InvalidInput, match=f"i_wall/{spoil}.*cannot be read"):
        read_hpatches(root)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no sequence of HPatches"):
        read_hpatches(tmp_path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_hpatches(tmp_path / "none")
