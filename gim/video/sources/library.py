"""The videos of a store: how a file becomes one, and the aliases that lead from a URL to it.

`meta.json` is written last and once: its existence says that the source file is complete, and a second fetch of the
same video, under any name, finds it and changes nothing.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gim import codecs, keys
from gim.errors import InvalidInput, KeyMissing
from gim.records import Provenance, VideoMeta

if TYPE_CHECKING:
    from gim.ports.store import Store


@dataclass(frozen=True, slots=True)
class SourceAlias:
    """A URL that was fetched before, and the video its bytes turned out to be."""

    url: str
    video_id: str


def video_metas(store: "Store") -> Iterator[VideoMeta]:
    """What is known of every video in the store, by video id."""
    for key in store.list("videos/"):
        if key.endswith("/meta.json"):
            yield codecs.from_json(VideoMeta, store.get(key))


def find_video(store: "Store", video_id: str) -> VideoMeta | None:
    """The video of this id, when the store has it complete."""
    try:
        return codecs.from_json(VideoMeta, store.get(keys.video_meta(video_id)))
    except KeyMissing:
        return None


def find_alias(store: "Store", url: str) -> VideoMeta | None:
    """The video that this URL led to before, when it is still in the store."""
    try:
        alias = codecs.from_json(SourceAlias, store.get(keys.source_alias(url)))
    except KeyMissing:
        return None
    return find_video(store, alias.video_id)


def put_alias(store: "Store", url: str, video_id: str) -> None:
    """Remember where a URL led."""
    store.put(keys.source_alias(url), codecs.to_json(SourceAlias(url, video_id)))


def source_alias_keys(store: "Store", video_id: str) -> list[str]:
    """The keys of all aliases that lead to a video: its last traces when it is purged."""
    every = store.list(keys.source_aliases_prefix())
    return [key for key in every if codecs.from_json(SourceAlias, store.get(key)).video_id == video_id]


def put_video(
    store: "Store", path: Path, *, video_id: str, sha256: str, extension: str, provenance: Provenance
) -> VideoMeta:
    """Put a complete local file into the store as a video; the file is left as it is.

    Args:
        store: where to.
        path: the file.
        video_id: its id; one of the form `file-...` must be made of `sha256`.
        sha256: of the file's bytes, hex.
        extension: to store it under, without the dot.
        provenance: where it came from; what was recorded first stays.

    Returns:
        The meta that the store holds, which may be an earlier one's.

    Raises:
        InvalidInput: another file has this id already.
        Unavailable: the store cannot take it now.
    """
    known = find_video(store, video_id)
    if known is None:
        source_key = keys.video_source(video_id, extension)
        store.put_file(source_key, path)
        made = VideoMeta(video_id, source_key, sha256, path.stat().st_size, provenance)
        store.put(keys.video_meta(video_id), codecs.to_json(made), if_absent=True)
        known = find_video(store, video_id) or made  # another process may have been quicker
        _drop_other_sources(store, known)
    if known.sha256 != sha256 and video_id.startswith("file-"):
        raise InvalidInput(f"{path}: another file already has the id {video_id}; their SHA-256 differ past 16 digits")
    return known


def drop_video(store: "Store", meta: VideoMeta) -> None:
    """Take a video out again: its meta first, for without it the video does not exist; its file; what leads to it."""
    store.delete(keys.video_meta(meta.video_id))
    store.delete(meta.source_key)
    for alias in source_alias_keys(store, meta.video_id):
        store.delete(alias)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hex, without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tool_versions(*packages: str) -> dict[str, str]:
    """Installed versions of what fetched a video, ours included."""
    return {"gim": importlib.metadata.version("gim-pipeline"), **{n: importlib.metadata.version(n) for n in packages}}


def _drop_other_sources(store: "Store", meta: VideoMeta) -> None:
    """Remove what a fetch left that was killed between file and meta, or lost a race, under another extension."""
    prefix = keys.video_prefix(meta.video_id)
    for key in list(store.list(f"{prefix}source")):
        if key != meta.source_key:
            store.delete(key)
