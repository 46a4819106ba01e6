"""Sampled frames and their masks, read from the Store for the stages that look at pixels."""

from functools import lru_cache

import numpy as np

from gim import codecs, keys
from gim.errors import CorruptObject
from gim.ports.store import Store
from gim.records import FrameManifest, Uint8Array
from gim.video.segmenter import Segmenter

_MANIFESTS_HELD = 4


class SampleReader:
    """Reads manifests, frames and masks of videos; holds a few manifests and the last shot's overlay mask."""

    def __init__(self, store: Store, segmenter: Segmenter | None = None) -> None:
        self._store = store
        self._segmenter = segmenter
        self.manifest = lru_cache(maxsize=_MANIFESTS_HELD)(self._read_manifest)
        self._overlay = lru_cache(maxsize=1)(self._read_overlay)

    def grey(self, manifest: FrameManifest, sample: int) -> Uint8Array:
        """One sampled frame, uint8 [H, W]."""
        return codecs.decode_grey(self._jpeg(manifest, sample))

    def rgb(self, manifest: FrameManifest, sample: int) -> Uint8Array:
        """One sampled frame, uint8 [H, W, 3]."""
        return codecs.decode_image(self._jpeg(manifest, sample))

    def mask(self, manifest: FrameManifest, shot: int, sample: int) -> Uint8Array | None:
        """Where a sample may be matched, uint8 [H, W], 0 = not; None = everywhere."""
        overlay = self._overlay(manifest.video_id, manifest.sampling_id, shot)
        if self._segmenter is None:
            return overlay
        usable = self._segmenter.mask(self.rgb(manifest, sample))
        return usable if overlay is None else np.minimum(usable, overlay)

    def _jpeg(self, manifest: FrameManifest, sample: int) -> bytes:
        index = manifest.frame_indices[sample]
        return self._store.get(keys.frame_image(manifest.video_id, manifest.sampling_id, index))

    def _read_manifest(self, video_id: str, sampling_id: str) -> FrameManifest:
        return codecs.from_json(FrameManifest, self._store.get(keys.frame_manifest(video_id, sampling_id)))

    def _read_overlay(self, video_id: str, sampling_id: str, shot: int) -> Uint8Array | None:
        manifest = self.manifest(video_id, sampling_id)
        if not manifest.shots[shot].overlay_share:
            return None
        mask = codecs.decode_grey(self._store.get(keys.overlay_mask(video_id, sampling_id, shot)))
        if mask.shape != (manifest.height, manifest.width):
            raise CorruptObject(f"overlay mask of shot {shot} of {video_id} has another size than its frames")
        return mask
