"""Sampled frames and their masks, read from the Store for the stages that look at pixels."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np

from gim import codecs, keys
from gim.errors import CorruptObject, KeyMissing
from gim.ports.store import Store
from gim.records import FrameManifest, Uint8Array
from gim.video.segmenter import Segmenter

_MANIFESTS_HELD = 4
_FRAMES_TOGETHER = 16  # decoded at once for the segmenter: 100 MB of 1080p


class SampleReader:
    """Reads manifests, frames and masks of videos; holds a few manifests and the last shot's overlay mask.

    What a segmenter says of a frame is kept in the Store, so that every matcher and every process finds it there.
    """

    def __init__(self, store: Store, segmenter: Segmenter | None = None, *, held_bytes: int = 0) -> None:
        """Args:
        store: to read from; it gets the masks that the segmenter makes.
        segmenter: says where frames may be matched; None: everywhere.
        held_bytes: of stored frames that are kept in memory, for whoever asks for the same ones again and again.
        """
        self._store = store
        self.segmenter = segmenter
        self._segmenting = Lock()
        self.manifest = lru_cache(maxsize=_MANIFESTS_HELD)(self._read_manifest)
        self._overlay = lru_cache(maxsize=1)(self._read_overlay)
        self._held = _HeldBytes(store.get, held_bytes)

    def grey(self, manifest: FrameManifest, sample: int) -> Uint8Array:
        """One sampled frame, uint8 [H, W]."""
        return codecs.decode_grey(self.jpeg(manifest, manifest.frame_indices[sample]))

    def rgb(self, manifest: FrameManifest, sample: int) -> Uint8Array:
        """One sampled frame, uint8 [H, W, 3]."""
        return codecs.decode_image(self.jpeg(manifest, manifest.frame_indices[sample]))

    def jpeg(self, manifest: FrameManifest, frame_index: int) -> bytes:
        """One sampled frame as stored, by its index in the video."""
        return self._held.get(keys.frame_image(manifest.video_id, manifest.sampling_id, frame_index))

    def image(self, manifest: FrameManifest, sample: int, *, in_colour: bool) -> Uint8Array:
        """One sampled frame, as a matcher wants it."""
        return self.rgb(manifest, sample) if in_colour else self.grey(manifest, sample)

    def mask(self, manifest: FrameManifest, shot: int, sample: int) -> Uint8Array | None:
        """Where a sample may be matched, uint8 [H, W], 0 = not; None = everywhere."""
        overlay = self._overlay(manifest.video_id, manifest.sampling_id, shot)
        if self.segmenter is None:
            return overlay
        usable = self._stored_mask(manifest, sample, self.segmenter)
        if usable is None:
            self.make_masks(manifest, [sample])
            usable = self._stored_mask(manifest, sample, self.segmenter)
        if usable is None:
            raise CorruptObject(f"the mask of sample {sample} of {manifest.video_id} cannot be read back")
        return usable if overlay is None else np.minimum(usable, overlay)

    def make_masks(self, manifest: FrameManifest, samples: Sequence[int]) -> None:
        """Have the segmenter look at many samples together; those whose masks are stored are left alone."""
        if self.segmenter is None:
            return
        with self._segmenting:  # a thread that comes second finds what the first one made
            missing = [sample for sample in samples if self._stored_mask(manifest, sample, self.segmenter) is None]
            for start in range(0, len(missing), _FRAMES_TOGETHER):
                chunk = missing[start : start + _FRAMES_TOGETHER]
                masks = self.segmenter.masks([self.rgb(manifest, sample) for sample in chunk])
                for sample, mask in zip(chunk, masks, strict=True):
                    self._store.put(self._mask_key(manifest, sample, self.segmenter), codecs.encode_png(mask))

    def masked_id(self, extractor_id: str) -> str:
        """The id of an extractor whose features avoid what the segmenter masks."""
        return keys.config_id(extractor_id, self.segmenter.segmenter_id) if self.segmenter else extractor_id

    def _stored_mask(self, manifest: FrameManifest, sample: int, segmenter: Segmenter) -> Uint8Array | None:
        """The mask of a sample; None where it is to be made, or made again: it is only a cache."""
        try:
            mask = codecs.decode_grey(self._store.get(self._mask_key(manifest, sample, segmenter)))
        except (KeyMissing, CorruptObject):
            return None
        return mask if mask.shape == (manifest.height, manifest.width) else None

    @staticmethod
    def _mask_key(manifest: FrameManifest, sample: int, segmenter: Segmenter) -> str:
        index = manifest.frame_indices[sample]
        return keys.frame_mask(manifest.video_id, manifest.sampling_id, segmenter.segmenter_id, index)

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


class _HeldBytes:
    """Objects that never change, those used last held in memory: each is asked for by several steps, from a server."""

    def __init__(self, read: Callable[[str], bytes], max_bytes: int) -> None:
        self._read, self._room = read, max_bytes
        self._lock = Lock()
        self._held: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        data = self._read(key)
        with self._lock:
            if key not in self._held:  # two threads may have read it
                self._held[key] = data
                self._room -= len(data)
            while self._room < 0:
                self._room += len(self._held.popitem(last=False)[1])
        return data
