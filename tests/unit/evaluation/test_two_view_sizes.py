"""Sizes of the usual benchmarks: what a name means, and matches that come back to the images as given."""

from pathlib import Path

import numpy as np
import pytest

from gim.errors import ConfigError, InvalidInput
from gim.evaluation.image_size import to_original
from gim.evaluation.protocols import protocol_named
from gim.evaluation.two_view_sizes import (
    AS_GIVEN,
    MEGADEPTH_SIZES,
    PLANE_SIZES,
    SCANNET_SIZES,
    NamedSize,
    pose_size,
    size_named,
)
from gim.evaluation.views import folder_views
from tests.two_view_sets import grey_image


def matched_size(folder: Path, size: NamedSize, width: int, height: int) -> tuple[int, int]:
    (folder / "0.png").write_bytes(grey_image(width, height))
    view = folder_views("set", folder, [("0.png", "0.png")], size.rule).image("0.png")
    assert view.original == (width, height)
    corners = np.float32([[0, 0, view.size[0] - 1, view.size[1] - 1]])
    scale = width / view.size[0]
    np.testing.assert_allclose(to_original(corners, view, view)[0, :2], 0.5 * scale - 0.5, atol=scale / 100)
    return view.size


@pytest.mark.parametrize(
    ("size", "given", "matched"),
    [
        ("short-480", (1000, 800), (600, 480)),
        ("short-480", (300, 400), (480, 640)),
        ("short-480", (480, 480), (480, 480)),
        ("as-given", (301, 207), (301, 207)),
    ],
)
def test_planes_have_a_shorter_side(
    tmp_path: Path, size: str, given: tuple[int, int], matched: tuple[int, int]
) -> None:
    assert matched_size(tmp_path, size_named(size, PLANE_SIZES), *given) == matched


@pytest.mark.parametrize(
    ("size", "given", "matched"),
    [
        ("long-1200", (1600, 1063), (1200, 792)),
        ("long-840", (600, 800), (624, 840)),
        ("long-1600", (800, 533), (1600, 1066)),
    ],
)
def test_photographs_have_a_longer_side(
    tmp_path: Path, size: str, given: tuple[int, int], matched: tuple[int, int]
) -> None:
    assert matched_size(tmp_path, size_named(size, MEGADEPTH_SIZES), *given) == matched


def test_rooms_are_matched_at_the_size_of_their_release(tmp_path: Path) -> None:
    assert matched_size(tmp_path, size_named("", SCANNET_SIZES), 640, 480) == (640, 480)
    assert matched_size(tmp_path, SCANNET_SIZES[0], 1296, 968) == (640, 478)


def test_a_protocol_with_a_size_has_its_own_unless_another_is_named() -> None:
    gim, other = protocol_named("gim"), protocol_named("glue-factory")
    assert pose_size("", MEGADEPTH_SIZES, gim) is MEGADEPTH_SIZES[0]
    assert pose_size("", MEGADEPTH_SIZES, other).rule.longest_side == other.longest_side
    assert pose_size("as-given", MEGADEPTH_SIZES, other) is AS_GIVEN


def test_sizes_do_not_share_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(grey_image(30, 20))
    sizes = (*PLANE_SIZES, *MEGADEPTH_SIZES[:3], SCANNET_SIZES[0])
    ids = {folder_views("set", tmp_path, [("0.png", "0.png")], size.rule).id for size in sizes}
    assert len(ids) == len(sizes)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no size 'short-48' \(did you mean short-480\?\): short-480, as-given"):
        size_named("short-48", PLANE_SIZES)
    with pytest.raises(InvalidInput, match=r"none\.png: cannot be read"):
        folder_views("set", tmp_path, [("none.png", "none.png")], PLANE_SIZES[0].rule)
