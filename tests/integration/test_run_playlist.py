"""A playlist from its address to the summary: the real yt-dlp on a server of ours, and the real run.

Only what reads YouTube's pages is replaced, as in `test_sources_youtube`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.extractor.youtube import YoutubeIE, YoutubeTabIE
from yt_dlp.utils import ExtractorError

from gim.runtime.run import RunResult, run_videos
from gim.settings import Settings
from tests.integration.faulty_server import FaultyServer, Page, serving
from tests.integration.test_sources_youtube import answer_with, collect_its_sockets, entries_of, page_of
from tests.synthetic import small_clip

__all__ = ["collect_its_sockets"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

LIST = "PLabcdefghijkl"
GOOD, UNLICENSED, MEMBERS, ADULT = "AAAAAAAAAAA", "BBBBBBBBBBB", "CCCCCCCCCCC", "DDDDDDDDDDD"
REFUSALS = {
    MEMBERS: "Join this channel to get access to members-only content like this video",
    ADULT: "Sign in to confirm your age. This video may be inappropriate for some users.",
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small_clip(path, kind="terrain", duration_seconds=2.0, size=(240, 136), fps=10)
    return path.read_bytes()


@pytest.fixture
def server(clip: bytes) -> Iterator[FaultyServer]:
    with serving() as running:
        running.pages["/video"] = Page(clip)
        yield running


@pytest.fixture
def answered(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    """YouTube's pages of the videos above."""

    def extract(_self: Any, url: str) -> dict[str, Any]:
        youtube_id = url.rpartition("=")[2]
        if youtube_id in REFUSALS:
            raise ExtractorError(REFUSALS[youtube_id], expected=True)
        changes = {"license": None} if youtube_id == UNLICENSED else {}
        return page_of(server.url("/video"), id=youtube_id, **changes)

    monkeypatch.setattr(YoutubeIE, "_real_extract", extract)
    return server


def run(store: Path, *sources: str, sets: tuple[str, ...] = ()) -> RunResult:
    given = [f"store={store}", "run.threads=1", "source.first_wait_seconds=0.01", "source.max_attempts=1"]
    given += ["source.allow_private_addresses=true", *sets]  # the server is here
    return run_videos(sources, Settings.load(given, environ={}))


def listed(monkeypatch: pytest.MonkeyPatch, *youtube_ids: str, **hidden: str) -> None:
    entries = [{"id": youtube_id, "title": "walk"} for youtube_id in youtube_ids]
    entries += [{"id": youtube_id, "title": title} for title, youtube_id in hidden.items()]
    answer_with(monkeypatch, YoutubeTabIE, entries_of(*entries))


def test_what_a_playlist_lists_and_nobody_may_take_is_skipped_with_its_reason(answered, monkeypatch, tmp_path):
    listed(monkeypatch, MEMBERS, GOOD, UNLICENSED, ADULT, **{"[Private video]": "EEEEEEEEEEE"})

    result = run(tmp_path / "store", LIST)

    assert {
        video.source.rpartition("=")[2]: (video.status, video.reason, video.exit_code) for video in result.videos
    } == {
        "yt-EEEEEEEEEEE": ("skipped", "private", 0),
        MEMBERS: ("skipped", "members_only", 0),
        GOOD: ("kept", "", 0),
        UNLICENSED: ("skipped", "licence", 0),
        ADULT: ("skipped", "age_restricted", 0),
    }
    assert [video.rejected for video in result.videos if video.status == "skipped"] == [
        {video.reason: 1} for video in result.videos if video.status == "skipped"
    ]
    assert result.exit_code == 0


def test_a_playlist_of_which_nothing_may_be_taken_fails_in_one_line(answered, monkeypatch, tmp_path):
    listed(monkeypatch, UNLICENSED, MEMBERS, **{"[Deleted video]": "EEEEEEEEEEE"})

    result = run(tmp_path / "store", LIST)

    (error,) = [video.error for video in result.videos if video.error]
    assert error.startswith(f"{LIST}: none of its 3 videos can be taken (")
    assert "1 licence" in error
    assert "source.allow_unknown_licence" in error
    assert result.exit_code == 2


def test_a_playlist_that_hides_everything_makes_no_store(monkeypatch, tmp_path):
    listed(monkeypatch, **{"[Private video]": "EEEEEEEEEEE"})

    result = run(tmp_path / "store", LIST)

    assert [(video.status, video.reason) for video in result.videos] == [("skipped", "private"), ("failed", "")]
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("youtube_id", [MEMBERS, UNLICENSED])
def test_a_video_that_the_user_named_fails(answered, monkeypatch, tmp_path, youtube_id):
    listed(monkeypatch, GOOD, youtube_id)

    result = run(tmp_path / "store", LIST, f"https://www.youtube.com/watch?v={youtube_id}")

    by_source = {video.source.rpartition("=")[2]: video for video in result.videos}
    assert (by_source[GOOD].status, by_source[youtube_id].status) == ("kept", "failed")
    assert f"yt-{youtube_id}" in by_source[youtube_id].error
    assert result.exit_code == 2
