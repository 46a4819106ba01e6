"""Parts of video shards: what is stored comes out with its truth, and what is not as listed is refused by its key."""

import gc
import io
import tarfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset

from gim import codecs, npy
from gim.adapters.store_file import FileStore
from gim.datasets.manifest import DatasetManifest
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.geometry.homography import apply_homography
from gim.training.augment.config import AugmentConfig, SyntheticConfig, augment_recipe
from gim.training.config import LoopConfig, ReaderConfig, SampleConfig, TrainingConfig
from gim.training.data.frames import FrameCache
from gim.training.data.homography import HomographyPart
from gim.training.data.parts import Draw
from gim.training.data.shards import VideoShards
from gim.training.data.stream import MicroBatches
from gim.training.data.video import VideoPart
from gim.training.samples import Homography, Labels, Sample, SampleSkipped
from tests.unit.training.data.films import SHIFT, SIZE, dataset_of, ramp, write_film

CONFIG = SampleConfig(width=96, height=64, min_labels=8)
FIRST = Draw(seed=1, epoch=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def part_of(
    store: FileStore,
    manifest: DatasetManifest,
    config: SampleConfig = CONFIG,
    *,
    augment: str = "none",
    verify: bool = True,
) -> VideoPart:
    recipe = augment_recipe(augment) if augment != "none" else AugmentConfig()
    return VideoPart(VideoShards(store, manifest, "train", verify=verify), config, recipe, frames=FrameCache())


def colours_at(image: np.ndarray, positions: np.ndarray) -> np.ndarray:
    x, y = positions.astype(np.float32).T[:, :, None]
    return cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR)[:, 0, :2]


def every_sample(part: VideoPart | HomographyPart, draw: Draw = FIRST) -> list[Sample]:
    found = []
    for number, size in enumerate(part.group_sizes):
        with part.open(number) as group:
            found += [group.sample(index, draw) for index in range(size)]
    return found


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("odd", [0, 3])
def test_positions_follow_a_frame_that_is_decoded_smaller(factor: int, odd: int) -> None:
    # Frames so many times as large as wanted, whose sides may be no multiple of it.
    size = (factor * 96 + odd, factor * 64 + odd)
    noise = np.random.default_rng(0).normal(0, 1, size[::-1]).astype(np.float32)
    grey = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3 * factor), None, 30, 220, cv2.NORM_MINMAX).astype(np.uint8)
    frame = FrameCache().frame("a", codecs.encode_jpeg(grey), (96, 64))
    assert frame.reduction == factor
    x, y = np.arange(8, size[0] - 8.0, 2 * factor), np.arange(8, size[1] - 8.0, 2 * factor)
    grid = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)
    image = np.dstack([grey] * 3)
    seen = colours_at(frame.image, frame.from_stored.apply(grid))
    slopes = [(colours_at(image, grid + step) - colours_at(image, grid - step)) / 2 for step in ((1, 0), (0, 1))]
    away = np.stack([slope.ravel() for slope in slopes], axis=1)
    shift_px, *_ = np.linalg.lstsq(away, (seen - colours_at(image, grid)).ravel(), rcond=None)
    assert np.abs(shift_px).max() < 0.05  # of the stored frame; half a pixel lost would be half a `factor`


def test_samples_have_the_stored_frames_and_labels(store: FileStore) -> None:
    manifest = dataset_of(write_film(store, 0), write_film(store, 1, shards=(1,)))
    part = part_of(store, manifest)
    assert part.group_sizes == [3, 2, 1]
    samples = every_sample(part)
    ids = [video.video_id for video in manifest.videos]
    stems = [f"{2 * place:08d}_{2 * place + 1:08d}" for place in range(5)]
    assert [sample.name for sample in samples] == [f"{ids[0]}/{stem}" for stem in stems] + [f"{ids[1]}/{stems[0]}"]
    for sample in samples:
        assert isinstance(sample.truth, Labels)
        points = sample.truth.points
        assert points.shape == (40, 4)
        assert np.allclose(points[:, 2:] - points[:, :2], SHIFT, atol=1e-3)
        assert np.abs(colours_at(sample.image0, points[:, :2]) - (2 * points[:, :2] + 20)).max() < 6
        assert np.abs(colours_at(sample.image1, points[:, 2:]) - (2 * points[:, :2] + 20)).max() < 6
        assert sample.valid0.all()
        assert sample.part == "video"


def test_labels_outside_are_left_out_and_counted(store: FileStore) -> None:
    part = part_of(store, dataset_of(write_film(store, outside=3)))
    samples = every_sample(part)
    assert [len(sample.truth.points) for sample in samples] == [40] * 5
    assert part.labels_outside == 15


def test_no_more_labels_than_asked_for_and_those_drawn_at_random(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    full, few = part_of(store, manifest), part_of(store, manifest, replace(CONFIG, max_labels=10))
    every, kept, again = every_sample(full), every_sample(few), every_sample(few, Draw(1, 1))
    for sample, chosen, later in zip(every, kept, again, strict=True):
        assert len(chosen.truth.points) == 10
        rows = {tuple(row) for row in sample.truth.points.tolist()}
        assert {tuple(row) for row in chosen.truth.points.tolist()} < rows
        assert not np.array_equal(chosen.truth.points, later.truth.points)


def test_the_same_draw_gives_the_same_bytes_and_another_does_not(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    part = part_of(store, manifest, augment="paper")
    for one, other in zip(every_sample(part), every_sample(part_of(store, manifest, augment="paper")), strict=True):
        assert np.array_equal(one.image1, other.image1)
        assert np.array_equal(one.truth.points, other.truth.points)
    for draw in (Draw(2, 0), Draw(1, 1)):
        pairs = zip(every_sample(part), every_sample(part, draw), strict=True)
        assert not all(np.array_equal(one.image1, other.image1) for one, other in pairs)


def test_pairs_that_break_a_condition_are_left_out(store: FileStore) -> None:
    where = ("coverage>=0.2", "coverage<0.5")
    manifest = dataset_of(write_film(store, shards=(3, 3), where=where), where=where)
    part = part_of(store, manifest)
    assert part.group_sizes == [2, 1]
    assert [sample.name[-17:] for sample in every_sample(part)] == [
        "00000002_00000003",
        "00000004_00000005",
        "00000006_00000007",
    ]


def test_webdataset_reads_the_same(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    samples = {sample.name.partition("/")[2]: sample for sample in every_sample(part_of(store, manifest))}
    paths = [str(store.root / shard.key) for shard in manifest.shards("train")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its files to the collector
        items = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
        gc.collect()
    for item in items:
        sample = samples[item["__key__"]]
        assert np.array_equal(codecs.decode_image(item["0.jpg"]), sample.image0)
        assert np.array_equal(codecs.decode_image(item["1.jpg"]), sample.image1)
        assert np.allclose(npy.array_of(item["correspondences.npy"]), sample.truth.points, atol=1e-3)
    assert len(items) == len(samples)


def test_synthetic_pairs_are_of_one_frame_and_their_homography_is_true(store: FileStore) -> None:
    manifest = dataset_of(write_film(store, size=(192, 128)))
    part = HomographyPart(VideoShards(store, manifest, "train"), CONFIG, SyntheticConfig(), frames=FrameCache())
    names = [sample.name for sample in every_sample(part_of(store, manifest))]
    samples = every_sample(part)
    assert [sample.name for sample in samples] == names
    for sample in samples:
        assert isinstance(sample.truth, Homography)
        grid = np.stack(np.meshgrid(np.arange(20, 76.0, 4), np.arange(16, 48.0, 4)), axis=2).reshape(-1, 2)
        moved = apply_homography(grid, sample.truth.H01)
        inside = np.all((moved > 4) & (moved < (91, 59)), axis=1)
        difference = colours_at(sample.image0, grid[inside]) - colours_at(sample.image1, moved[inside])
        assert inside.any()
        assert np.abs(difference).mean() < 4


# --- frames -----------------------------------------------------------------------------------------------------------


def test_frames_are_decoded_once_while_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(1) or original(*args))
    jpeg = codecs.encode_jpeg(ramp(SIZE))
    frames = FrameCache(max_bytes=2 * 96 * 64 * 3)
    for name in ("a", "b", "a", "b", "c", "a", "b"):  # c drives out a, a drives out b, b drives out c
        frames.frame(name, jpeg, SIZE)
    assert len(decoded) == 5
    assert not frames.frame("b", jpeg, SIZE).image.flags.writeable


@pytest.mark.parametrize("data", [b"", b"jpeg", b"\xff\xd8\xff"])
def test_what_is_no_image_is_said_so(data: bytes) -> None:
    with pytest.raises(CorruptObject, match="not a readable image"):
        FrameCache().frame("a", data, SIZE)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def shard_path(store: FileStore, manifest: DatasetManifest) -> Path:
    return store.root / manifest.videos[0].shards[0].key


def test_a_shard_that_is_cut_off_is_named(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    path = shard_path(store, manifest)
    path.write_bytes(path.read_bytes()[:-1024])
    with pytest.raises(CorruptObject, match=rf"^{manifest.videos[0].shards[0].key}: \d+ bytes, .* says \d+$"):
        every_sample(part_of(store, manifest))


def test_a_changed_byte_is_found(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    path = shard_path(store, manifest)
    data = bytearray(path.read_bytes())
    data[data.index(b"NUMPY") + 200] ^= 1  # in a label
    path.write_bytes(data)
    with pytest.raises(CorruptObject, match=f"^{manifest.videos[0].shards[0].key} has changed"):
        every_sample(part_of(store, manifest))
    every_sample(part_of(store, manifest, verify=False))  # unless nobody wants to know


def test_a_missing_shard_is_named(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    shard_path(store, manifest).unlink()
    with pytest.raises(KeyMissing, match=manifest.videos[0].shards[0].key):
        every_sample(part_of(store, manifest))


def rewritten(store: FileStore, manifest: DatasetManifest, kept: list[str]) -> DatasetManifest:
    """The first shard with some of its members only, listed as it is then."""
    shard = manifest.videos[0].shards[0]
    path, buffer = shard_path(store, manifest), io.BytesIO()
    with tarfile.open(path) as tar, tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for info in tar:
            if any(info.name.endswith(end) for end in kept):
                new.addfile(info, tar.extractfile(info))
    path.write_bytes(buffer.getvalue())
    video = replace(manifest.videos[0], shards=[replace(shard, num_bytes=len(buffer.getvalue()))])
    return replace(manifest, videos=[video])


def test_a_shard_without_a_member_or_of_other_pairs_is_named(store: FileStore) -> None:
    manifest = rewritten(store, dataset_of(write_film(store)), [".0.jpg", ".1.jpg", ".json"])
    with pytest.raises(CorruptObject, match=r"00000\.tar: not a shard of training pairs \(pair .* is incomplete"):
        every_sample(part_of(store, manifest, verify=False))
    manifest = rewritten(store, dataset_of(write_film(store)), ["00000000_00000001." + end for end in MEMBERS])
    with pytest.raises(CorruptObject, match=r"00000\.tar: 1 pairs belong to the dataset, its manifest says 3"):
        every_sample(part_of(store, manifest, verify=False))


MEMBERS = ("0.jpg", "1.jpg", "correspondences.npy", "json")


def test_a_shard_cut_off_while_it_is_open_is_named(store: FileStore) -> None:
    manifest = dataset_of(write_film(store))
    part = part_of(store, manifest)
    with part.open(0) as group:
        path = shard_path(store, manifest)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(CorruptObject, match=f"{manifest.videos[0].shards[0].key}: pair .* is cut off"):
            group.sample(2, FIRST)


def test_a_dataset_without_pairs_is_refused(store: FileStore) -> None:
    part = part_of(store, dataset_of())
    with pytest.raises(InvalidInput, match="part video: there is no pair to train on"):
        MicroBatches([part], [1], TrainingConfig(), collate=list)


def test_a_shard_is_known_by_its_content_and_by_the_pairs_taken(store: FileStore) -> None:
    films = [write_film(store, 0), write_film(store, 1)]
    where = ("coverage>=0.1",)
    parts = [part_of(store, dataset_of(*films)), part_of(store, dataset_of(*films, where=where))]
    assert len({part.identity(number) for part in parts for number in range(4)}) == 8


@pytest.mark.parametrize(("film", "reason"), [({"jpeg": b"no jpeg"}, "damaged"), ({"num_labels": 5}, "too_few_labels")])
def test_a_pair_that_cannot_be_used_is_skipped_with_a_reason(store: FileStore, film: dict, reason: str) -> None:
    part = part_of(store, dataset_of(write_film(store, **film)))
    with part.open(0) as group, pytest.raises(SampleSkipped) as caught:
        group.sample(0, FIRST)
    assert caught.value.reason == reason
    config = TrainingConfig(loop=LoopConfig(canonical_batch=2), reader=ReaderConfig(threads=2))
    with MicroBatches([part], [1], config, collate=list) as reader, pytest.raises(InvalidInput, match=f"{reason} 5"):
        next(reader)


# --- a store that is far away -----------------------------------------------------------------------------------------


class Far(FileStore):
    """A store whose files are copies that last as long as they are held."""

    held: set[Path]
    most_held = 0
    num_fetched = 0

    @contextmanager
    def fetch(self, key: str) -> Iterator[Path]:
        copy = self.root.parent / f"copy-{threading.get_ident()}-{self.num_fetched}-{key.replace('/', '-')}"
        copy.write_bytes(self.get(key))
        self.num_fetched += 1
        self.held.add(copy)
        self.most_held = max(self.most_held, len(self.held))
        yield copy
        self.held.remove(copy)
        copy.unlink()


def test_the_copies_of_a_far_store_are_few_and_gone_at_the_end(tmp_path: Path) -> None:
    far = Far(tmp_path / "store")
    far.held = set()
    manifest = dataset_of(*(write_film(far, number, shards=(6, 6, 6)) for number in range(8)))
    parts = [
        part_of(far, manifest),
        HomographyPart(VideoShards(far, manifest, "train"), CONFIG, SyntheticConfig(), frames=FrameCache()),
    ]
    reading = ReaderConfig(threads=3, shuffle_pairs=12)
    config = TrainingConfig(loop=LoopConfig(canonical_batch=1), reader=reading)
    with MicroBatches(parts, [1, 0], config, collate=list) as reader:
        names = [name for batch in islice(reader, 144) for name in batch.names]
        assert len(set(names)) == 144
        assert far.held
    assert far.most_held <= 18  # of 24: those 64 pairs ahead of one lane, and four that nobody holds
    assert not far.held
    assert not list(tmp_path.glob("copy-*"))
    far.close()
