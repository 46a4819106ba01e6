"""Places of pixels in InLoc's scans."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from gim.errors import InvalidInput
from gim.localisation.scans import places_at, read_scan, scan_pose

CUTOUT = "database/cutouts/DUC1/024/DUC_cutout_024_0_0.jpg"
COORDINATE = st.floats(-0.5, 5.5, width=32)


def _place_slowly(scan, x, y):
    """Bilinear by its definition; where that is not known, the nearest pixel's."""
    height, width, _ = scan.shape
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    x0, y0 = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
    total = np.zeros(3)
    for column in (x0, min(x0 + 1, width - 1)):
        for row in (y0, min(y0 + 1, height - 1)):
            weight_x = 1 - abs(x - column) if width > 1 else 0.5
            weight_y = 1 - abs(y - row) if height > 1 else 0.5
            total = total + weight_x * weight_y * scan[row, column]
    return scan[round(y), round(x)] if np.isnan(total).any() else total


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 6), st.lists(st.tuples(COORDINATE, COORDINATE)))
def test_places_agree_with_a_slow_lookup(seed, width, height, points) -> None:
    rng = np.random.default_rng(seed)
    scan = rng.normal(size=(height, width, 3))
    scan[rng.random((height, width)) < 0.3] = np.nan
    keypoints = np.array(points, np.float32).reshape(-1, 2)
    expected = [_place_slowly(scan, float(x), float(y)) for x, y in keypoints]
    np.testing.assert_allclose(places_at(scan, keypoints), np.reshape(expected, (-1, 3)), atol=1e-12)


def test_a_scan_is_read_and_placed(tmp_path: Path) -> None:
    path = tmp_path / CUTOUT
    path.parent.mkdir(parents=True)
    savemat(f"{path}.mat", {"XYZcut": np.ones((2, 3, 3)), "RGBcut": np.zeros((2, 3, 3), np.uint8)})
    assert read_scan(tmp_path, CUTOUT).shape == (2, 3, 3)
    lines = ["before", *["1 0 0 0"] * 4, "", "after", "0 -1 0 5", "1 0 0 -2", "0 0 1 1", "0 0 0 1", ""]
    placed = tmp_path / "database" / "alignments" / "DUC1" / "transformations" / "DUC_trans_024.txt"
    placed.parent.mkdir(parents=True)
    placed.write_text("\n".join(lines))
    assert scan_pose(tmp_path, CUTOUT).tolist() == [[0, -1, 0, 5], [1, 0, 0, -2], [0, 0, 1, 1], [0, 0, 0, 1]]
    placed.write_text("\n".join(lines[:9]))
    with pytest.raises(InvalidInput, match=r"DUC_trans_024.txt: lines 8 to 11 are not a matrix of 4 x 4"):
        scan_pose(tmp_path, CUTOUT)
    placed.write_text("\n".join([*lines[:7], "a b c d", *lines[8:]]))
    with pytest.raises(InvalidInput, match=r"DUC_trans_024.txt: lines 8 to 11 are not a matrix of numbers"):
        scan_pose(tmp_path, CUTOUT)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 40])
def test_a_file_that_is_no_scan_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg.mat").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"a.jpg.mat: not a readable MATLAB file"):
        read_scan(tmp_path, "a.jpg")


def test_a_file_without_the_variable_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "a.jpg.mat", {"RGBcut": np.zeros((2, 3, 3), np.uint8)})
    with pytest.raises(InvalidInput, match=r"a.jpg.mat: holds no XYZcut \[H, W, 3\]"):
        read_scan(tmp_path, "a.jpg")
    with pytest.raises(InvalidInput, match=r"a.jpg: not a database image of InLoc"):
        scan_pose(tmp_path, "a.jpg")
