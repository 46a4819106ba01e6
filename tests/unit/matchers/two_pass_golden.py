"""What the golden sets of DKM and RoMa have in common: the images, both passes, the warps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gim.matchers.nn.pyramid import PairPyramid
from gim.records import ImagePair

MOST_FLIPPED = 1e-3  # share of pixels whose flow lies so near the image's border that it may fall on either side
Golden = dict[str, np.ndarray]
Check = Callable[[str, Any, float], None]


def stored(folder: Path) -> Golden:
    with np.load(folder / "golden.npz") as arrays:
        return dict(arrays)


def images_of(shared: Path) -> list[np.ndarray]:
    names = (shared / f"golden/images/pair_{side}_480x320.png" for side in "ab")
    return [cv2.cvtColor(cv2.imread(str(name)), cv2.COLOR_BGR2RGB) for name in names]


def checker(name: str, golden: Golden, record_parity: Callable[[str, str, float, float], None]) -> Check:
    """Compares with a quantity of a golden set, and records how near it came."""

    def check(quantity: str, found: Any, tolerance: float, where: np.ndarray | bool = True) -> None:
        expected = golden[quantity]
        assert found.shape == expected.shape
        difference = float(np.abs(np.asarray(found) - expected).max(where=where, initial=0))
        record_parity(name, quantity, difference, tolerance)

    return check


def check_passes(matcher, images, check: Check, *, flow_tolerance: float, logit_tolerance: float) -> None:
    """Every scale of both passes, but the last of the first, which the golden sets leave out."""
    import torch

    first, second = (image.maps.maps for image in matcher.encode(images, [None, None]))
    with torch.inference_mode():
        coarse = list(matcher.network.first_pass(PairPyramid([first.coarse], [second.coarse])))
        fine = list(matcher.network.second_pass(PairPyramid([first.fine], [second.fine]), coarse[-1]))
    assert [estimate.scale for estimate in fine] == [8, 4, 2, 1]
    for estimate in coarse[:-1]:
        check(f"pass0_flow{estimate.scale}", estimate.flow, flow_tolerance)
        check(f"pass0_cert{estimate.scale}", estimate.certainty, logit_tolerance)
    for estimate in fine:
        check(f"pass1_flow{estimate.scale}", estimate.flow, flow_tolerance)
        check(f"pass1_cert{estimate.scale}", estimate.certainty, logit_tolerance)


def check_warps(matcher, images, golden: Golden, check: Check, *, warp_tolerance: float) -> None:
    """The result: both warps side by side in [-1, 1], and the certainty."""
    warps = matcher.warps([ImagePair(*images)])[0]
    height, width = images[0].shape[:2]
    corner = np.concatenate([warp.points for warp in warps], axis=1) + 0.5
    check("warp", corner / [width, height, width, height] * 2 - 1, warp_tolerance)
    certainty = np.concatenate([warp.certainty for warp in warps], axis=1)
    is_flipped = (certainty == 0) != (golden["certainty"] == 0)
    assert is_flipped.mean() <= MOST_FLIPPED
    check("certainty", certainty, 1e-3, where=~is_flipped)
