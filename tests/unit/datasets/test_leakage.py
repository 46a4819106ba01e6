"""Videos that show a benchmark's images are found and left out; others, though of a like place, are not."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import put_benchmark
from gim.cli.main import run_command
from gim.datasets.build import build_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.leakage import LeakSearch, find_leaked_videos
from gim.errors import ConfigError, CorruptObject, InvalidInput
from gim.records import FrameManifest, Uint8Array
from tests.finished_pairs import RECIPE_ID, finish, video_id_of
from tests.posed_scene import write_scene
from tests.synthetic import posed_pair

SAMPLING_ID = "s0.2s-0123abcd"  # of `finish`
ALL = DatasetConfig(held_out_share=0.0)
SHOWS, CLEAN, UNSEEN = (video_id_of(number) for number in range(3))


@cache
def elsewhere(gap_seconds: float) -> Uint8Array:
    """A view of a street, which no benchmark has."""
    return posed_pair("street", 0, gap_seconds=gap_seconds).image1


def put_frames(store: FileStore, video_id: str, frames: Sequence[Uint8Array]) -> None:
    """What sampling leaves of a video, ten frames apart."""
    places = [10 * place for place in range(len(frames))]
    for place, frame in zip(places, frames, strict=True):
        store.put(keys.frame_image(video_id, SAMPLING_ID, place), codecs.encode_jpeg(frame))
    height, width = frames[0].shape[:2]
    manifest = FrameManifest(
        video_id, SAMPLING_ID, width, height, 10.0, 100, 10.0, 1.0, places, [place / 10 for place in places], [], []
    )
    store.put(keys.frame_manifest(video_id, SAMPLING_ID), codecs.to_json(manifest))


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("posed") / "bench")


@pytest.fixture
def store(tmp_path: Path, benchmark: Path) -> Iterator[FileStore]:
    """Three videos: one shows image 1 of the benchmark, darker and smaller; one does not; one's frames are gone."""
    opened = FileStore(tmp_path / "store")
    for number in range(3):
        finish(opened, number)
    image = codecs.decode_image((benchmark / "images" / "1.png").read_bytes())
    shown = np.asarray(0.8 * cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA), np.uint8)
    put_frames(opened, SHOWS, [elsewhere(0.4), shown])
    put_frames(opened, CLEAN, [elsewhere(0.0), elsewhere(0.8)])
    yield opened
    opened.close()


def searched(store: FileStore, *benchmarks: str | Path) -> LeakSearch:
    results = [(video_id, RECIPE_ID) for video_id in (SHOWS, CLEAN, UNSEEN)]
    return find_leaked_videos(store, results, [str(name) for name in benchmarks])


def test_a_video_that_shows_an_image_is_named_with_its_frame(store: FileStore, benchmark: Path) -> None:
    search = searched(store, benchmark)
    (leak,) = search.leaked
    (benchmark_id,) = search.benchmark_ids
    assert benchmark_id.startswith("bench-")
    assert (leak.video_id, leak.benchmarks, leak.num_images) == (SHOWS, (benchmark_id,), 1)
    assert (leak.image, leak.frame) == (f"{benchmark_id}/images/1.png", 10)
    assert leak.similarity > 0.9
    assert [(unseen.video_id, unseen.why) for unseen in search.unseen] == [(UNSEEN, "its frames are not in the store")]
    assert (search.num_images, search.num_frames) == (3, 4)  # those that pairs name


def test_a_benchmark_may_be_one_of_the_store(store: FileStore, benchmark: Path, tmp_path: Path) -> None:
    benchmark_id = put_benchmark(store, "rooms", benchmark).benchmark_id
    (tmp_path / "street").mkdir()
    (tmp_path / "street" / "x.png").write_bytes(codecs.encode_png(elsewhere(1.6)))
    search = searched(store, "rooms", tmp_path / "street")
    assert [(leak.video_id, leak.benchmarks) for leak in search.leaked] == [(SHOWS, (benchmark_id,))]
    assert search.num_images == 4
    store.put(keys.benchmark_file(benchmark_id, "images/1.png"), b"other")
    with pytest.raises(CorruptObject, match="has changed"):
        searched(store, "rooms")


def test_only_the_videos_asked_for_are_looked_at(store: FileStore, benchmark: Path) -> None:
    search = find_leaked_videos(store, [(CLEAN, RECIPE_ID)], [str(benchmark)])
    assert (search.leaked, search.num_frames) == ([], 2)
    assert find_leaked_videos(store, [], [str(benchmark)]).num_frames == 0


def test_a_video_with_damaged_frames_is_not_taken_for_clean(store: FileStore, benchmark: Path) -> None:
    store.delete(keys.frame_image(CLEAN, SAMPLING_ID, 10))
    assert (CLEAN, "its frames are damaged") in [
        (unseen.video_id, unseen.why) for unseen in searched(store, benchmark).unseen
    ]


def test_leaking_videos_are_left_out_of_a_dataset(store: FileStore, benchmark: Path) -> None:
    with_all = build_dataset(store, ALL).manifest
    manifest = build_dataset(store, replace(ALL, keep_clear_of=(str(benchmark),))).manifest
    assert [video.video_id for video in manifest.videos] == [CLEAN]
    left_out = {item.video_id: item for item in manifest.excluded}
    assert {item.reason for item in left_out.values()} == {"leak"}
    assert "frame 10 is bench-" in left_out[SHOWS].detail
    assert "cannot be compared: its frames are not in the store" in left_out[UNSEEN].detail
    assert manifest.clear_of == searched(store, benchmark).benchmark_ids
    assert (len(with_all.videos), with_all.clear_of) == (3, ())


@pytest.mark.parametrize(("name", "kind"), [("nothing", ConfigError), (".", InvalidInput)])
def test_what_is_no_benchmark_is_refused(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[Exception]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(kind, match="benchmark"):
        searched(store, name)


def gim(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run_command(["dataset", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_commands_tell_of_leaks(capsys: pytest.CaptureFixture[str], store: FileStore, benchmark: Path) -> None:
    store.delete(keys.pairs_manifest(UNSEEN, RECIPE_ID))
    place = ["--store", str(store.root)]
    build = ["build", *place, "--held-out-share", "0", "--json"]
    everything: dict[str, Any] = json.loads(gim(capsys, *build)[1])
    code, out, _ = gim(capsys, "check", everything["dataset"], *place, "--against", str(benchmark))
    assert code == 1
    assert f"{SHOWS} (train): frame 10 is bench-" in out
    assert "1 of 2 videos show images of bench-" in out
    clean = json.loads(gim(capsys, *build, "--keep-clear-of", str(benchmark))[1])
    assert clean["left_out"] == {"leak": 1}
    assert gim(capsys, "check", clean["dataset"], *place, "--against", str(benchmark), "--json")[0] == 0
    assert "shows no image of bench-" in gim(capsys, "show", clean["dataset"], *place)[1]
    code, _, err = gim(capsys, "check", clean["dataset"], *place, "--against", "nothing")
    assert (code, err.count("\n")) == (2, 1)
