"""What `gim run` does with what it cannot use: one line, exit code 2, and the others are not stopped."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.bad_sources import BAD
from tests.e2e.commands import ROOT, environment, error_lines, leftovers, objects_of, run_gim
from tests.small_disk import run_on_small_disk
from tests.synthetic import small_clip

FIELDS = {
    "source", "video_id", "status", "frames_sampled", "pairs_labelled", "pairs_kept", "correspondences",
    "median_interval_seconds", "seconds", "rejected",
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "good.mp4"
    small_clip(path, kind="terrain", duration_seconds=2.0, size=(240, 136), fps=10)
    return path


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("still") / "still.mp4"
    small_clip(path, duration_seconds=0.2, still_seconds=2.0, size=(240, 136), fps=10)
    return path


def assert_whole(store: Path) -> None:
    """Nothing half-written: no frames, labels or pairs without their manifest, no temporary file."""
    assert leftovers(store) == []
    keys = set(objects_of(store))
    for root in ("frames", "pairs"):
        for folder in {key.rpartition("/")[0] for key in keys if key.startswith(f"{root}/")}:
            assert f"{folder}/manifest.json" in keys
    for folder in {key.rpartition("/")[0] for key in keys if key.startswith("videos/")}:
        assert f"{folder}/meta.json" in keys


def test_bad_sources_stop_no_good_one_and_each_gets_its_line_and_its_row(
    clip: Path, still: Path, tmp_path: Path
) -> None:
    sources = {kind: bad.at(tmp_path) for kind, bad in BAD.items()}
    given = [*list(sources.values())[::2], str(clip), str(still), *list(sources.values())[1::2]]
    done = run_gim("run", *given, "--store", tmp_path / "store", "--json", "--quiet", cwd=tmp_path)
    assert done.returncode == 2
    lines = error_lines(done.stderr)
    videos = {video["source"]: video for video in json.loads(done.stdout)["videos"]}
    assert set(videos) == set(given)
    assert len(lines) == len(BAD)
    for kind, source in sources.items():
        video = videos[source]
        assert (video["status"], video["pairs_kept"]) == ("failed", 0)
        assert set(video) == FIELDS | {"error"}
        assert BAD[kind].said in video["error"], kind
        assert f"error: {video['error']}" in lines
    good, rejected = videos[str(clip)], videos[str(still)]
    assert set(good) == set(rejected) == FIELDS
    assert (good["status"], rejected["status"]) == ("kept", "rejected")
    assert good["pairs_kept"] > 0
    assert not (tmp_path / "pwned").exists()
    assert_whole(tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_source_alone_is_one_line_and_exit_code_2_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    source = BAD[kind].at(tmp_path)
    store = tmp_path / "store"
    before = sorted(path.name for path in tmp_path.iterdir())
    for _ in range(2):  # asked again, the same is said
        done = run_gim("run", source, "--store", store, cwd=tmp_path, HOME=str(tmp_path))
        assert done.returncode == 2
        (line,) = error_lines(done.stderr)
        assert BAD[kind].said in line
        assert "Traceback" not in done.stdout
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == before
        assert leftovers(store) == []
        assert not store.exists() or objects_of(store) == {}


def test_a_file_that_the_decoder_refuses_is_not_in_the_store(tmp_path: Path) -> None:
    source, store = BAD["audio"].at(tmp_path), tmp_path / "store"
    assert run_gim("run", source, "--store", store, "--quiet").returncode == 2
    assert objects_of(store) == {}
    listed = run_gim("ls", "--store", store, "--json")
    assert (json.loads(listed.stdout), listed.returncode) == ({"videos": []}, 0)
    (purged,) = error_lines(run_gim("purge", "file-0123456789abcdef", "--yes", "--store", store).stderr)
    assert "holds nothing of it" in purged


@pytest.mark.parametrize("kind", ["missing", "zero_bytes", "text", "hls_file"])
def test_a_source_that_is_refused_unread_makes_no_store(tmp_path: Path, kind: str) -> None:
    source = BAD[kind].at(tmp_path)
    done = run_gim("run", source, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert BAD[kind].said in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_video_rightly_rejected_is_no_error(still: Path, filled: Path) -> None:
    done = run_gim("run", still, "--store", filled, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (video,) = json.loads(done.stdout)["videos"]
    assert set(video) == FIELDS
    assert (video["status"], video["pairs_kept"], video["median_interval_seconds"]) == ("rejected", 0, None)
    assert sum(video["rejected"].values()) == video["frames_sampled"] > 0
    (manifest,) = [data for key, data in objects_of(filled, "pairs/").items() if key.endswith("/manifest.json")]
    assert json.loads(manifest)["rejected"] in video["rejected"]


def test_a_store_of_another_version_is_left_as_it_is(clip: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "gim-store.json").write_text('{"format": 99}')
    done = run_gim("run", clip, "--store", store)
    assert done.returncode == 2
    (line,) = error_lines(done.stderr)
    assert "99" in line
    assert [path.name for path in store.iterdir()] == ["gim-store.json"]


@pytest.mark.slow
def test_a_folder_that_is_no_store_is_left_as_it_is(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    done = run_gim("run", clip, "--store", tmp_path)
    assert done.returncode == 2
    assert "not a store" in error_lines(done.stderr)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.fixture(scope="module")
def filled(still: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("filled") / "store"
    assert run_gim("run", still, "--store", store, "--quiet").returncode == 0
    return store


@pytest.mark.parametrize(
    "damage",
    [b"", pytest.param(b"{}", marks=pytest.mark.slow), pytest.param(b'{"schema": 99}', marks=pytest.mark.slow)],
)
def test_a_damaged_object_of_the_store_is_one_line_and_exit_code_2(
    still: Path, filled: Path, tmp_path: Path, damage: bytes
) -> None:
    store = tmp_path / "store"
    shutil.copytree(filled, store)
    (manifest,) = store.glob("frames/*/*/manifest.json")
    manifest.write_bytes(damage)
    done = run_gim("run", still, "--store", store, "--quiet")
    (line,) = error_lines(done.stderr)
    assert done.returncode == 2
    assert "FrameManifest" in line


# --- a full disk ------------------------------------------------------------------------------------------------------


def on_a_small_disk(mount: Path, size: str, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `gim` where `mount` is a file system of this size; its files are listed after what it says."""
    mount.mkdir()
    script = f'{{ "$@"; code=$?; find {mount} -type f | grep -v /.run/ >&2; exit $code; }}'
    command = [sys.executable, "-m", "gim", *map(str, arguments)]
    return run_on_small_disk(mount, size, script, *command, timeout=300, cwd=ROOT, env=environment(**more))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["100k", "300k", "500k"])
def test_a_full_disk_is_one_line_and_leaves_only_whole_objects(clip: Path, tmp_path: Path, size: str) -> None:
    store = tmp_path / "small" / "store"
    done = on_a_small_disk(tmp_path / "small", size, "run", clip, "--store", store, "--quiet")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert "the disk is full: free some space" in lines[0]
    assert done.returncode == 2
    assert all(line.startswith(str(store)) for line in lines[1:])
    assert not any("/.tmp/" in line or "/.downloads/" in line for line in lines[1:])
    assert list((tmp_path / "small").iterdir()) == []  # the file system was the process's own


@pytest.mark.slow
def test_a_full_folder_for_temporary_files_does_not_matter(clip: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    done = on_a_small_disk(small, "20k", "run", clip, "--store", tmp_path / "store", "--quiet", TMPDIR=str(small))
    assert done.stderr == ""  # nothing is left there either
    assert done.returncode == 0
