"""What the deployed matchers say of themselves in the Store, so that others need not load a network to know it.

The id under which a matcher's labels lie hashes its settings and the bytes of its weights: only the pod that holds them
can tell it. So a matcher service announces its id when it starts, and the propagator waits for the labels of that id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gim import codecs, keys
from gim.errors import KeyMissing, Unavailable
from gim.ports.store import Store
from gim.records import FrameManifest


@dataclass(frozen=True, slots=True)
class DeployedMatcher:
    """A matcher that labels now."""

    name: str
    labels_id: str  # the matcher id of its labels


@dataclass(frozen=True, slots=True)
class SegmentFailure:
    """Why a matcher has given up a segment."""

    matcher: str
    error: str  # class name
    message: str  # one line


def announce_matcher(store: Store, name: str, labels_id: str) -> None:
    """Say under which id this matcher's labels lie from now on."""
    key, data = keys.deployed_matcher(name), codecs.to_json(DeployedMatcher(name, labels_id))
    if not store.exists(key) or store.get(key) != data:
        store.put(key, data)


def deployed_labels_id(store: Store, name: str) -> str:
    """The id under which a deployed matcher stores its labels.

    Raises:
        Unavailable: no matcher of that name has announced itself yet.
    """
    try:
        return codecs.from_json(DeployedMatcher, store.get(keys.deployed_matcher(name))).labels_id
    except KeyMissing as error:
        raise Unavailable(
            f"matcher {name} has not started on this store yet: start its service, or leave it out of matchers"
        ) from error


def given_up(store: Store, manifest: FrameManifest, matcher_ids: Iterable[str]) -> Iterator[str]:
    """Those of the matcher ids that have given up a segment of the video and still lack its labels."""
    for matcher_id in matcher_ids:
        for key in store.list(keys.failures_prefix(manifest.video_id, manifest.sampling_id, matcher_id)):
            segment = int(key.rpartition("/")[2].partition(".")[0])
            if not store.exists(keys.segment_labels(manifest.video_id, manifest.sampling_id, matcher_id, segment)):
                yield matcher_id
                break
