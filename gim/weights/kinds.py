"""Tells from the names of its tensors which model a checkpoint belongs to. For messages and `gim weights check`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelKind:
    """A model that one can know by the names of its tensors."""

    name: str
    patterns: tuple[str, ...]  # every one is found in some name, at its beginning or after a prefix's dot
    matchers: tuple[str, ...] = ()  # of ours that load it


# The first whose patterns are all found counts, so what embeds another stands before it.
_KINDS = (
    ModelKind(
        "SuperPoint and LightGlue in one file",
        (r"superpoint\.conv1a\.", r"transformers\.0\."),
        ("superpoint_lightglue",),
    ),
    ModelKind("SuperGlue", (r"kenc\.", r"gnn\.layers\."), ("superpoint_superglue",)),
    ModelKind("SuperPoint", (r"conv1a\.", r"convDb\."), ("superpoint_lightglue", "superpoint_superglue")),
    ModelKind("XFeat and LighterGlue in one file", (r"extractor\.model\.net\.", r"posenc\."), ("xfeat_lighterglue",)),
    ModelKind(
        "LightGlue",
        (r"posenc\.Wr\.", r"log_assignment\."),
        ("superpoint_lightglue", "aliked_lightglue", "disk_lightglue", "xfeat_lighterglue"),
    ),
    ModelKind("GIM's LoFTR", (r"backbone\.encode\.", r"loftr_coarse\."), ("gim_loftr",)),
    ModelKind("LoFTR", (r"backbone\.layer1_outconv\.", r"loftr_coarse\."), ("loftr",)),
    ModelKind("DKM", (r"encoder\.net\.", r"decoder\.gps\."), ("dkm",)),
    ModelKind("RoMa", (r"encoder\.cnn\.", r"decoder\.gps\."), ("roma",)),
    ModelKind("DINOv2", (r"cls_token", r"blocks\.0\.attn\."), ("roma",)),
    ModelKind("ALIKED", (r"desc_head\.", r"score_head\."), ("aliked_lightglue", "aliked_mnn")),
    ModelKind("XFeat", (r"block_fusion\.", r"keypoint_head\."), ("xfeat", "xfeat_lighterglue")),
    ModelKind("DISK", (r"unet\.path_down\.",), ("disk_lightglue",)),
    ModelKind("DeDoDe", (r"encoder\.(vgg\.)?layers\.0\.", r"decoder\.layers\."), ("dedode",)),
    ModelKind("the ADE20K segmenter's decoder", (r"ppm\.", r"conv_last\.")),
    ModelKind("the ADE20K segmenter's encoder", (r"conv3\.weight$", r"bn3\.weight$", r"layer4\.2\.")),
    ModelKind("a torchvision segmenter", (r"backbone\.", r"(low_)?classifier\.")),
)


def kind_of(names: Iterable[str]) -> ModelKind | None:
    """The model that tensors of these names belong to; None when nobody here knows it."""
    listed = tuple(names)
    for kind in _KINDS:
        if all(any(re.search(rf"(^|\.){pattern}", name) for name in listed) for pattern in kind.patterns):
            return kind
    return None
