"""Training material as single pictures: videos decoded as `gim run` does, frames of a store, files and folders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.records import FrameManifest
from gim.video.config import VideoConfig
from gim.video.decode import FrameSampled, sample_video
from gim.video.sources.local import list_videos
from gim.video.sources.sniff import is_video_name

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
_LONG_SIDE = 640  # pixels that frames are decoded to: enough to compare, and quick


@dataclass(frozen=True, slots=True, eq=False)
class LeakFrame:
    """One picture of the training material."""

    source: str  # video or image
    frame: int | None  # in its video
    time_seconds: float | None
    data: bytes  # encoded


@dataclass(frozen=True, slots=True)
class Material:
    """One video, or one folder of images, or one video of a store."""

    name: str
    frames: Callable[[], Iterator[LeakFrame]]


def find_material(text: str, config: VideoConfig, store: Callable[[Path], Store | None]) -> Iterator[Material]:
    """What one source of the command line stands for.

    Args:
        text: a path, or `s3://BUCKET`.
        config: how videos are sampled.
        store: opens the store that a path is, or says None where it is none.

    Raises:
        InvalidInput: nothing is there, or nothing of use.
    """
    path = Path(text)
    opened = store(path)
    if opened is not None:
        yield from _of_store(opened)
        return
    if path.is_dir():
        videos = list(list_videos(path))
        images = sorted(item for item in path.rglob("*") if item.suffix.lower() in IMAGE_SUFFIXES)
        if not videos and not images:
            raise InvalidInput(f"{path}: holds neither videos nor images, nor is it a store")
        yield from (_of_video(video, config) for video in videos)
        if images:
            yield Material(str(path), lambda: _of_images(images))
    elif path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        yield Material(str(path), lambda: _of_images([path]))
    elif path.is_file() or is_video_name(path.name):
        yield _of_video(path, config)
    else:
        raise InvalidInput(f"{path}: no such file or folder")


def _of_video(path: Path, config: VideoConfig) -> Material:
    # Neither overlays nor sizes matter here; which frames are sampled depends on neither.
    quick = replace(
        config,
        sampling=replace(config.sampling, max_long_side=min(config.sampling.max_long_side, _LONG_SIDE)),
        overlay=replace(config.overlay, enabled=False),
    )

    def frames() -> Iterator[LeakFrame]:
        for event in sample_video(path, quick):
            if isinstance(event, FrameSampled):
                yield LeakFrame(str(path), event.frame_index, event.time_seconds, event.jpeg)

    return Material(str(path), frames)


def _of_images(paths: Sequence[Path]) -> Iterator[LeakFrame]:
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
        yield LeakFrame(str(path), None, None, data)


def _of_store(store: Store) -> Iterator[Material]:
    manifests = [key for key in store.list("frames/") if key.endswith("/manifest.json")]
    if not manifests:
        raise InvalidInput("the store holds no sampled frames; `gim run` makes them")
    for key in manifests:
        manifest = codecs.from_json(FrameManifest, store.get(key))
        yield Material(manifest.video_id, partial(_stored, store, manifest))


def _stored(store: Store, manifest: FrameManifest) -> Iterator[LeakFrame]:
    for frame, seconds in zip(manifest.frame_indices, manifest.frame_times, strict=True):
        data = store.get(keys.frame_image(manifest.video_id, manifest.sampling_id, frame))
        yield LeakFrame(manifest.video_id, frame, seconds, data)
