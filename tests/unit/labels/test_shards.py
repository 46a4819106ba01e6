"""Shards of training pairs: whole again when read, equal bytes for equal pairs, plain WebDataset, loud when damaged."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gim.errors import CorruptObject
from gim.labels.shards import ShardWriter, pair_name, read_shard
from gim.records import PairQuality, TrainingPair

QUALITY = PairQuality(
    num_correspondences=3,
    interval_frames=12,
    interval_seconds=0.4,
    num_links=2,
    guided_share=0.25,
    confirmed_share=0.75,
    coverage=0.5,
    median_displacement_px=11.5,
    median_parallax_px=1.25,
    epipolar_residual_px=0.125,
    num_matchers=1,
)


def pair(frame0: int = 3, frame1: int = 15, *, num: int = 3, seed: int = 0) -> TrainingPair:
    rng = np.random.default_rng(seed)
    points, F01 = rng.uniform(0, 2000, (num, 4)).astype(np.float32), rng.normal(size=(3, 3))
    return TrainingPair("file-0123456789abcdef", frame0, frame1, frame0 / 30, frame1 / 30, points, F01, QUALITY)


def write(path: Path, pairs: list[TrainingPair], **more: str) -> bytes:
    with ShardWriter(path) as writer:
        for item in pairs:
            writer.add(item, b"jpeg-of-%d" % item.frame0, b"jpeg-of-%d" % item.frame1, **more)
        assert writer.num_pairs == len(pairs)
    return path.read_bytes()


@given(
    frames=st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**6)), max_size=5, unique=True),
    num=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again_to_the_last_bit(
    tmp_path: Path, frames: list[tuple[int, int]], num: int, seed: int
) -> None:
    pairs = [pair(first, first + gap, num=num, seed=seed) for first, gap in frames]
    data = write(tmp_path / "a.tar", pairs)
    found = list(read_shard(tmp_path / "a.tar"))
    assert len(found) == len(pairs)
    for before, (after, jpeg0, jpeg1) in zip(pairs, found, strict=True):
        assert (jpeg0, jpeg1) == (b"jpeg-of-%d" % before.frame0, b"jpeg-of-%d" % before.frame1)
        np.testing.assert_array_equal(after.correspondences, before.correspondences)
        np.testing.assert_array_equal(after.F01, before.F01)
        assert (after.correspondences.dtype, after.F01.dtype) == (np.float32, np.float64)
        for name in ("video_id", "frame0", "frame1", "time0", "time1", "quality"):
            assert getattr(after, name) == getattr(before, name)
    assert write(tmp_path / "b.tar", pairs) == data


def test_a_shard_is_what_webdataset_reads(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", [pair(0, 12), pair(6, 18)])
    samples: dict[str, dict[str, bytes]] = {}
    order: list[str] = []
    with tarfile.open(tmp_path / "a.tar") as tar:
        for member in tar:
            assert member.isfile()
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            stem, _, kind = member.name.partition(".")  # as WebDataset: the key ends at the first dot
            if stem not in samples:
                order.append(stem)
            assert order[-1] == stem, "the files of a sample lie together"
            samples.setdefault(stem, {})[kind] = tar.extractfile(member).read()
    assert order == [pair_name(0, 12), pair_name(6, 18)] == ["00000000_00000012", "00000006_00000018"]
    for sample in samples.values():
        assert set(sample) == {"0.jpg", "1.jpg", "correspondences.npy", "json"}
        assert np.load(io.BytesIO(sample["correspondences.npy"]), allow_pickle=False).shape == (3, 4)
        assert json.loads(sample["json"])["quality"]["coverage"] == 0.5


def test_a_folder_precedes_the_stem_and_is_no_part_of_the_pair(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", [pair()], folder="file-0123456789abcdef/")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames()[0] == "file-0123456789abcdef/00000003_00000015.0.jpg"
    assert len(list(read_shard(tmp_path / "a.tar"))) == 1


def test_correspondences_of_any_layout_are_stored_alike(tmp_path: Path) -> None:
    plain = pair()
    strided = TrainingPair(
        *(getattr(plain, name) for name in ("video_id", "frame0", "frame1", "time0", "time1")),
        np.asfortranarray(plain.correspondences.astype(np.float64)),  # type: ignore[arg-type]
        plain.F01,
        plain.quality,
    )
    assert write(tmp_path / "a.tar", [plain]) == write(tmp_path / "b.tar", [strided])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.55, 0.7, 0.9])
def test_a_shard_cut_short_is_no_shard(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.tar"
    data = write(path, [pair(0, 12, num=200), pair(6, 18, num=200)])
    content = data.rstrip(b"\0")
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CorruptObject, match=r"a\.tar"):
        list(read_shard(path))


@pytest.mark.parametrize("content", [b"", b"not a tar at all" * 100, b"\0" * 100])
def test_something_else_is_no_shard(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(CorruptObject, match=r"a\.tar"):
        list(read_shard(path))


@pytest.mark.parametrize("missing", ["0.jpg", "1.jpg", "correspondences.npy", "json"])
def test_a_pair_that_lacks_a_member_is_named(tmp_path: Path, missing: str) -> None:
    write(tmp_path / "whole.tar", [pair()])
    with tarfile.open(tmp_path / "whole.tar") as whole, tarfile.open(tmp_path / "part.tar", "w") as part:
        for member in whole:
            if not member.name.endswith(missing):
                part.addfile(member, whole.extractfile(member))
    with pytest.raises(CorruptObject, match=r"part\.tar"):
        list(read_shard(tmp_path / "part.tar"))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    write(tmp_path / "whole.tar", [pair()])
    with tarfile.open(tmp_path / "whole.tar") as whole, tarfile.open(tmp_path / "evil.tar", "w") as evil:
        for member in whole:
            content = whole.extractfile(member).read()
            if member.name.endswith(".npy"):
                buffer = io.BytesIO()
                np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
                content = buffer.getvalue()
            member.size = len(content)
            evil.addfile(member, io.BytesIO(content))
    with pytest.raises(CorruptObject):
        list(read_shard(tmp_path / "evil.tar"))
