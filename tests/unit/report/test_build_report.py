"""The page is one safe, complete file made from the store, written whole or not at all."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import CorruptObject, InvalidInput, KeyMissing, Unavailable
from gim.report.build import build_report, write_report
from gim.report.pictures import encode_within_budget
from gim.report.results import FailedVideo, RunFacts, load_results
from gim.report.select import score_pair
from tests import report_data


class Page(HTMLParser):
    """Tags with their attributes, the text, and the data of the page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.data, self.is_data = [], "", None, False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.is_data = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag):
        self.is_data = False

    def handle_data(self, data):
        if self.is_data:
            self.data = json.loads(data)
        else:
            self.text += data


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return FileStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def video_ids(store):
    return [report_data.good_video(store), report_data.rejected_video(store)]


@pytest.fixture(scope="module")
def page(store, video_ids, tmp_path_factory):
    failed = FailedVideo("https://example.org/<script>alert(1)</script>", "gone & <b>never</b> back")
    run = RunFacts(command="gim run '<x>'", wall_seconds=3.0, failed=(failed,))
    out = tmp_path_factory.mktemp("out") / "report.html"
    return Page(build_report(store, load_results(store, video_ids), out, run=run).read_text())


def test_build_report_when_texts_are_hostile_then_they_stay_text(page):
    assert report_data.HOSTILE_TITLE in page.text
    assert "https://example.org/<script>alert(1)</script>" in page.text
    assert [attributes.get("type", "") for tag, attributes in page.tags if tag == "script"] == ["application/json", ""]
    assert not [tag for tag, _ in page.tags if tag == "b"]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_build_report_when_written_then_points_at_nothing_outside(page):
    sources = [v for _, a in page.tags for name, v in a.items() if name in ("src", "href", "srcset", "action")]
    assert sources
    assert all(value.startswith(("#", "data:")) for value in sources)


def test_build_report_when_written_then_draws_pairs_of_the_index_with_their_points(page, store, video_ids):
    entries = {entry.name: entry for entry in load_results(store, video_ids)[0].index.pairs}
    pairs = page.data["videos"][0]["pairs"]
    assert len(pairs) == min(60, len(entries))
    for pair in pairs:
        entry = entries[pair["name"]]
        assert pair["quality"]["num_correspondences"] == entry.quality.num_correspondences
        assert len(pair["points"]) == 4 * len(pair["residuals"]) == 4 * min(300, entry.quality.num_correspondences)
        assert pair["score"] == pytest.approx(score_pair(entry.quality), abs=1e-4)
        assert all(page.data["images"][i].startswith("data:image/jpeg;base64,") for i in pair["images"])


def test_build_report_when_two_pairs_share_a_frame_then_its_picture_is_stored_once(page):
    videos = page.data["videos"]
    frames = {(video["id"], frame) for video in videos for pair in video["pairs"] for frame in pair["frames"]}
    assert len(page.data["images"]) == len(frames)


def test_build_report_when_nothing_was_kept_then_says_why_and_what_to_do(page):
    assert "Nothing was kept: the camera does not move." in page.text
    assert "sampling.interval_seconds" in page.text
    assert "gone & <b>never</b> back" in page.text


def test_build_report_when_asked_twice_then_equal_bytes(store, video_ids, tmp_path):
    results = load_results(store, video_ids)
    first = build_report(store, results, tmp_path / "a.html", max_pairs=8).read_bytes()
    assert build_report(store, results, tmp_path / "b.html", max_pairs=8).read_bytes() == first
    assert len(Page(first.decode()).data["videos"][0]["pairs"]) == 8


def test_build_report_when_no_video_gave_a_result_then_still_a_page(store, tmp_path):
    run = RunFacts(failed=(FailedVideo("a.mp4", "empty"),))
    assert "No video gave a result." in build_report(store, [], tmp_path / "r.html", run=run).read_text()


def test_build_report_when_the_place_cannot_be_written_then_one_line_and_nothing_left(store, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(Unavailable, match=r"cannot write the report .*report\.html: "):
        build_report(store, [], tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_write_report_when_frames_were_deleted_then_only_the_film_strip_is_missing(tmp_path):
    store = FileStore(tmp_path / "store")
    video_id = report_data.good_video(store, num_samples=20)
    assert 'class="strip"' in write_report(store, [video_id], None, tmp_path / "r.html").read_text()
    for key in [key for key in store.list(keys.frames_prefix(video_id)) if key.endswith(".jpg")]:
        store.delete(key)
    html = write_report(store, [video_id], report_data.RECIPE_ID, tmp_path / "r.html").read_text()
    assert 'class="strip"' not in html
    assert Page(html).data["videos"][0]["pairs"]


def test_write_report_when_a_shard_is_damaged_then_names_it_and_keeps_the_old_page(tmp_path):
    store = FileStore(tmp_path / "store")
    video_id = report_data.good_video(store, num_samples=20)
    out = tmp_path / "r.html"
    out.write_text("old")
    store.put(keys.pairs_shard(video_id, report_data.RECIPE_ID, 0), b"no tar at all")
    with pytest.raises(CorruptObject, match=re.escape("00000.tar")):
        write_report(store, [video_id], None, out)
    assert out.read_text() == "old"


def test_load_results_when_two_recipes_have_results_then_asks_which(tmp_path):
    store = FileStore(tmp_path / "store")
    video_id = report_data.rejected_video(store)
    manifest = store.get(keys.pairs_manifest(video_id, report_data.RECIPE_ID))
    store.put(keys.pairs_manifest(video_id, "paper-00000000"), manifest)
    with pytest.raises(InvalidInput, match="paper-00000000, standard-89abcdef"):
        load_results(store, [video_id])


def test_load_results_when_rejected_before_labelling_then_the_frames_say_why(tmp_path):
    store = FileStore(tmp_path / "store")
    video_id = report_data.rejected_video(store)
    for key in list(store.list(keys.pairs_prefix(video_id))):
        store.delete(key)
    result = load_results(store, [video_id])[0]
    assert (result.rejected, result.pairs) == ("static_camera", None)


def test_load_results_when_the_run_did_not_finish_then_says_so(tmp_path):
    store = FileStore(tmp_path / "store")
    video_id = report_data.good_video(store, num_samples=20)
    store.delete(keys.pairs_manifest(video_id, report_data.RECIPE_ID))
    with pytest.raises(KeyMissing, match="no finished result"):
        load_results(store, [video_id])


def test_report_data_when_written_then_reads_back_as_real_records(store, video_ids):
    result = load_results(store, video_ids)[0]
    assert codecs.from_json(type(result.frames), codecs.to_json(result.frames)) == result.frames
    assert result.pairs.num_pairs == len(result.index.pairs) > 40


def test_encode_within_budget_when_pictures_are_heavy_then_all_shrink_until_they_fit():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (360, 640, 3), dtype=np.uint8) for _ in range(4)]
    urls = encode_within_budget(images, budget_bytes=150_000)
    jpegs = [base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls]
    assert sum(map(len, jpegs)) <= 150_000
    assert {codecs.decode_image(jpeg).shape for jpeg in jpegs} == {(225, 400, 3)}
    assert len(encode_within_budget(images, budget_bytes=10**7)[0]) > len(urls[0])
