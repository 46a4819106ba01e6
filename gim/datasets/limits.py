"""Less of a store than it has, as the ablations ask: results by some matchers only, so many hours of film."""

import hashlib
from collections.abc import Collection, Mapping, Sequence

from gim import codecs, keys
from gim.ports.store import Store
from gim.records import FrameManifest, PairsManifest


def is_labelled_by(store: Store, video_id: str, recipe_id: str, matchers: Collection[str]) -> bool:
    """Whether the labels of a result come from these matchers, all of them and no others.

    Raises:
        CorruptObject, KeyMissing: of its manifest.
    """
    result = codecs.from_json(PairsManifest, store.get(keys.pairs_manifest(video_id, recipe_id)))
    return {matcher_id.rpartition("-")[0] for matcher_id in result.matcher_ids} == set(matchers)


def hours_of(store: Store, video_id: str, sampling_id: str) -> float:
    """How long the film is that a result was made of.

    Raises:
        KeyMissing: its frames are gone.
    """
    manifest = codecs.from_json(FrameManifest, store.get(keys.frame_manifest(video_id, sampling_id)))
    return manifest.duration_seconds / 3600


def within_hours(hours: Mapping[str, float], most: float, seed: int) -> set[str]:
    """The videos that together are no longer than so many hours.

    They are drawn in the order of a hash of their ids, so that of fewer hours all are among those of more, and others
    that come to the store later change little.

    Args:
        hours: of each video, by id.
        most: hours.
        seed: another one draws others.
    """
    chosen, total = set(), 0.0
    for video_id in sorted(hours, key=lambda name: _drawn(name, seed)):
        total += hours[video_id]
        if total > most:
            break
        chosen.add(video_id)
    return chosen


def _drawn(video_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"hours/{seed}/{video_id}".encode()).digest()


def described(recipes: Sequence[str], matchers: Sequence[str]) -> str:
    """What a video has no result of, in words."""
    of = f" of {', '.join(recipes)}" if recipes else ""
    by = f" by {', '.join(matchers)} alone" if matchers else ""
    return f"has no result{of}{by}"
