"""Which training pairs leave the store: conditions on their quality, and the pairs themselves, shard by shard.

Not responsible for how they are written (one module per format) nor for where (`gim.export.folder`).
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from gim import codecs, keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.labels.shards import read_shard
from gim.ports.store import Store
from gim.records import PairEntry, PairIndex, PairQuality, PairsManifest, TrainingPair, VideoMeta

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_CONDITION = re.compile(r"\s*(?P<field>[a-z_]+)\s*(?P<sign><=|>=|<|>|=)\s*(?P<value>\S+)\s*")
_FIELDS = tuple(field.name for field in fields(PairQuality))


@dataclass(frozen=True, slots=True)
class Condition:
    """What a field of a pair's quality must satisfy."""

    field: str
    sign: str
    value: float

    def holds(self, quality: PairQuality) -> bool:
        """Whether a pair of this quality satisfies it."""
        return _SIGNS[self.sign](getattr(quality, self.field), self.value)

    def __str__(self) -> str:
        return f"{self.field}{self.sign}{self.value:g}"


def parse_condition(text: str) -> Condition:
    """The condition a text like `coverage>=0.2` states.

    Raises:
        InvalidInput: no such field, sign or number; the message names what there is.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InvalidInput(f"condition {text!r}: expected FIELD, one of <= >= < > =, and a number, as in coverage>=0.2")
    if found["field"] not in _FIELDS:
        raise InvalidInput(f"condition {text!r}: no quality field {found['field']!r}; one of {', '.join(_FIELDS)}")
    try:
        value = float(found["value"])
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InvalidInput(f"condition {text!r}: {found['value']!r} is no number")
    return Condition(found["field"], found["sign"], value)


@dataclass(frozen=True, slots=True)
class SelectedVideo:
    """One finished video and those of its pairs that are wanted, ascending by frames."""

    meta: VideoMeta
    result: PairsManifest
    entries: list[PairEntry]

    @property
    def frames(self) -> list[int]:
        """Every frame of the wanted pairs, ascending."""
        return sorted({frame for entry in self.entries for frame in (entry.frame0, entry.frame1)})


@dataclass(frozen=True, slots=True)
class StoredPair:
    """One training pair with its two frames as stored."""

    pair: TrainingPair
    jpeg0: bytes
    jpeg1: bytes


def select_pairs(store: Store, result: PairsManifest, conditions: Sequence[Condition]) -> SelectedVideo:
    """The pairs of one result that satisfy all conditions.

    Raises:
        CorruptObject: the result lacks its index or its video's meta.
    """
    try:
        meta = codecs.from_json(VideoMeta, store.get(keys.video_meta(result.video_id)))
        index = codecs.from_json(PairIndex, store.get(keys.pairs_index(result.video_id, result.recipe_id)))
    except KeyMissing as error:
        raise CorruptObject(f"{error}: the result is incomplete, see `gim reconcile --verify`") from error
    wanted = [entry for entry in index.pairs if all(condition.holds(entry.quality) for condition in conditions)]
    return SelectedVideo(meta, result, wanted)


def read_pairs(store: Store, video: SelectedVideo) -> Iterator[StoredPair]:
    """Read the wanted pairs in order, one at a time.

    Raises:
        CorruptObject: a shard is absent, damaged, or lacks a pair that the index promises.
    """
    by_shard: dict[int, set[str]] = {}
    for entry in video.entries:
        by_shard.setdefault(entry.shard, set()).add(f"{entry.frame0} {entry.frame1}")
    for shard, wanted in sorted(by_shard.items()):
        key = keys.pairs_shard(video.result.video_id, video.result.recipe_id, shard)
        try:
            with store.fetch(key) as path:
                for pair, jpeg0, jpeg1 in read_shard(path):
                    name = f"{pair.frame0} {pair.frame1}"
                    if name in wanted:
                        wanted.remove(name)
                        yield StoredPair(pair, jpeg0, jpeg1)
        except (KeyMissing, CorruptObject) as error:
            raise CorruptObject(f"{key}: {error}; see `gim reconcile --verify`") from error
        if wanted:
            raise CorruptObject(f"{key}: lacks pair {min(wanted)} of its index; see `gim reconcile --verify`")
