"""`run_videos` as a whole, in this process: matchers that fail, videos that are rejected, settings that change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput
from gim.matchers.base import Matcher
from gim.records import PairsManifest
from gim.runtime import run as running
from gim.runtime import wiring
from gim.runtime.run import RunResult, run_videos
from gim.settings import Settings
from tests.synthetic import small_clip
from tests.unit.stages.pipeline import SHORT_SEGMENTS, Broken, quick_rootsift


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small_clip(path, kind="terrain", duration_seconds=2.4, size=(240, 136), fps=10)
    return path


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have runs find these matchers instead of the files of `gim.matchers`."""

    def patch(*matchers: Matcher) -> None:
        for module in (wiring, running):
            monkeypatch.setattr(module, "load_matchers", lambda _settings: list(matchers))

    return patch


def run(store: Path, *sources: Path, sets: tuple[str, ...] = (), matchers: str = "rootsift") -> RunResult:
    named = (f"store={store}", f"matchers={matchers}")
    return run_videos([str(source) for source in sources], Settings.load([*SHORT_SEGMENTS, *named, *sets], environ={}))


def objects(store: Path, prefix: str) -> dict[str, bytes]:
    opened = FileStore(store, create=False)
    found = {key: opened.get(key) for key in opened.list(prefix)}
    opened.close()
    return found


def manifest_of(store: Path) -> PairsManifest:
    (data,) = [data for key, data in objects(store, "pairs/").items() if key.endswith("/manifest.json")]
    return codecs.from_json(PairsManifest, data)


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ("rootsift,broken", lambda: RuntimeError("no device")),
        ("broken,rootsift", lambda: InvalidInput("too small for this one")),
    ],
)
def test_a_matcher_that_always_fails_never_loses_a_video(
    clip: Path, tmp_path: Path, use: Callable[..., None], order: str, error: Callable[[], Exception]
) -> None:
    use(quick_rootsift())
    run(tmp_path / "alone", clip)
    made = {"rootsift": quick_rootsift(), "broken": Broken(error=error)}
    use(*(made[name] for name in order.split(",")))
    result = run(tmp_path / "both", clip, matchers=order)
    (video,) = result.videos
    assert (video.status, video.error, result.exit_code) == ("kept", "", 0)
    assert video.pairs_labelled.keys() == {"rootsift"}
    manifest = manifest_of(tmp_path / "both")
    assert [name.partition("-")[0] for name in manifest.matcher_ids] == ["rootsift"]
    assert (video.pairs_kept, video.recipe_id) == (manifest.num_pairs, manifest.recipe_id)
    assert objects(tmp_path / "both", "pairs/") == objects(tmp_path / "alone", "pairs/")
    again = run(tmp_path / "both", clip, matchers=order)
    assert (again.videos[0].status, again.videos[0].pairs_kept) == ("kept", video.pairs_kept)


def test_a_video_that_no_matcher_labels_says_why_and_stops_no_other_source(
    clip: Path, tmp_path: Path, use: Callable[..., None]
) -> None:
    use(Broken())
    result = run(tmp_path / "store", clip, tmp_path / "absent.mp4", matchers="broken")
    by_source = {video.source: video for video in result.videos}
    assert (by_source[str(clip)].status, by_source[str(clip)].error) == ("failed", "no device")
    assert "no such file" in by_source[str(tmp_path / "absent.mp4")].error
    assert result.exit_code == 1  # a bug outweighs bad input
    assert objects(tmp_path / "store", "pairs/") == {}


def test_another_setting_of_a_late_step_makes_the_late_step_alone_again(
    clip: Path, tmp_path: Path, use: Callable[..., None]
) -> None:
    use(quick_rootsift())
    first = run(tmp_path / "store", clip)
    before = objects(tmp_path / "store", "")
    second = run(tmp_path / "store", clip, sets=("propagation.min_kept=70",))
    after = objects(tmp_path / "store", "")
    assert before.items() <= after.items()
    assert {key.split("/")[0] for key in after.keys() - before.keys()} == {"pairs"}
    assert first.videos[0].recipe_id != second.videos[0].recipe_id
    assert "matching" not in second.videos[0].seconds


def test_the_same_file_under_two_names_is_one_video(clip: Path, tmp_path: Path, use: Callable[..., None]) -> None:
    use(quick_rootsift())
    (tmp_path / "copy.mp4").write_bytes(clip.read_bytes())
    result = run(tmp_path / "store", clip, tmp_path / "copy.mp4")
    assert len({video.video_id for video in result.videos}) == 1
    assert [video.status for video in result.videos] == ["kept", "kept"]
    assert {video.source for video in result.videos} == {str(clip), str(tmp_path / "copy.mp4")}
