"""Where else weights of a run can be read: files whose names of tensors they have. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_GIM = "the original GIM (github.com/xuelunshen/gim)"
_SIZE_9 = {"layers": 9, "width": 256, "heads": 4}


@dataclass(frozen=True, slots=True)
class PublicLayout:
    """A published file whose layout a matcher's weights have."""

    code: str  # that reads it
    file: str  # that is published for it; GIM's with the folder where its code looks for it
    sizes: Mapping[str, int] = field(default_factory=dict)  # of `model.*`, that this code is written for


_BY_MATCHER = {
    "superpoint_lightglue": PublicLayout(_GIM, "weights/gim_lightglue_100h.ckpt", _SIZE_9),
    "gim_loftr": PublicLayout(_GIM, "weights/gim_loftr_50h.ckpt"),
    "dkm": PublicLayout(_GIM, "weights/gim_dkm_100h.ckpt"),
    "roma": PublicLayout(_GIM, "weights/gim_roma_100h.ckpt"),
    "loftr": PublicLayout("the original LoFTR (github.com/zju3dv/LoFTR)", "loftr_outdoor.ckpt"),
    "aliked_lightglue": PublicLayout("LightGlue (github.com/cvg/LightGlue)", "aliked_lightglue.pth", _SIZE_9),
    "xfeat_lighterglue": PublicLayout(
        "XFeat (github.com/verlab/accelerated_features)",
        "xfeat-lighterglue.pt",
        {"layers": 6, "width": 96, "heads": 1},
    ),
}


def public_layout(matcher: str) -> PublicLayout | None:
    """The file whose layout a matcher's weights have; None: nobody published one."""
    return _BY_MATCHER.get(matcher)


def fits(layout: PublicLayout, model: Mapping[str, Any]) -> bool:
    """Whether weights of these `model.*` have the sizes that the other code expects.

    Args:
        layout: of the published file.
        model: those settings that a recipe gives; the others are the architecture's own, which are the published ones.
    """
    return all(model.get(name, size) == size for name, size in layout.sizes.items())
