"""How large the images of the usual two-view benchmarks are matched, as data."""

from collections.abc import Sequence
from dataclasses import dataclass

from gim.evaluation.image_size import SizeRule
from gim.evaluation.protocols import PoseProtocol
from gim.spelling import one_named


@dataclass(frozen=True, slots=True)
class NamedSize:
    """A size at which published evaluations match images."""

    name: str
    source: str
    rule: SizeRule


AS_GIVEN = NamedSize("as-given", "DKM and RoMa, whose networks have a size of their own", SizeRule())
PLANE_SIZES = (
    NamedSize(
        "short-480", "LoFTR, Sec. 4.1; glue-factory, eval/hpatches.py", SizeRule(shortest_side=480, is_enlarged=True)
    ),
    AS_GIVEN,
)
MEGADEPTH_SIZES = (
    NamedSize("long-1200", "LoFTR's paper, Sec. 4.2", SizeRule(1200, multiple_of=8, is_enlarged=True)),
    NamedSize("long-840", "LoFTR, configs/data/megadepth_test_1500.py", SizeRule(840, multiple_of=8, is_enlarged=True)),
    NamedSize("long-1600", "SuperGlue, LightGlue and glue-factory", SizeRule(1600, is_enlarged=True)),
    AS_GIVEN,
)
SCANNET_SIZES = (
    NamedSize("long-640", "SuperGlue and LoFTR: 640x480", SizeRule(640, is_enlarged=True)),
    AS_GIVEN,
)


def size_named(name: str, sizes: Sequence[NamedSize]) -> NamedSize:
    """The size of a name; the first of all for no name.

    Raises:
        ConfigError: there is none; the message has all.
    """
    return one_named(name, sizes, "size") if name else sizes[0]


def pose_size(name: str, sizes: Sequence[NamedSize], protocol: PoseProtocol) -> NamedSize:
    """The size of a name; for no name the protocol's own where it has one, else the first of all.

    Raises:
        ConfigError: there is none of that name.
    """
    if name or protocol.longest_side is None:
        return size_named(name, sizes)
    return NamedSize(f"long-{protocol.longest_side}", f"protocol {protocol.id}: {protocol.source}", protocol.size_rule)
