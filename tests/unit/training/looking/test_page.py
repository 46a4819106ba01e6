"""A run's page is one safe, complete file made from the store, however much or little the store has of the run."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput
from gim.training.config import KeepConfig, ScheduleConfig, TrainingConfig
from gim.training.looking.page import write_run_page
from gim.training.recipe_files import read_training_recipe
from tests.e2e.browser import FLAGS, watched_page
from tests.unit.training.data.films import dataset_of, write_film
from tests.unit.training.looking import runs

HOSTILE = "<script>alert(1)</script> & <b>more</b>"
CONFIG = TrainingConfig(schedule=ScheduleConfig(pairs=16 * 60), keep=KeepConfig(every_pairs=160))


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def sources(self):
        return [v for _, a in self.tags for name, v in a.items() if name in ("src", "href", "srcset", "action")]


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def written(store, tmp_path, run=runs.RUN):
    return write_run_page(store, run, tmp_path / "page.html").read_text()


def whole_run(store, num_points=50):
    """A run of which everything is there."""
    dataset = runs.put_dataset(store, dataset_of(write_film(store)))
    config = replace(CONFIG, recipe="tiny", start=HOSTILE)
    record = runs.put_run(store, config=config, dataset_id=dataset.dataset_id)
    points = [
        (step, {"loss": 9 - step / num_points, "video/positive": 2.0, "lr": 1e-4, "skipped/video/too_few_labels": 2,
                "bad_steps": float(step == 7), f"video/{HOSTILE}": 1.0})
        for step in range(1, num_points + 1)
    ]  # fmt: skip
    runs.put_points(store, [*points, (num_points, {"validation/loss": 3.25, "auc/zeb/5": 41.0})])
    runs.put_checkpoint(store, 20, 0.5)
    runs.put_checkpoint(store, 40, 0.25)
    for step in (10, 20, 30):
        runs.put_picture(store, step, 0)
        runs.put_picture(store, step, 1)
    runs.put_dump(store, 7, [])
    return record


def test_a_whole_run_is_told_from_end_to_end(store, tmp_path):
    whole_run(store)
    page = Page(written(store, tmp_path, f"run:{runs.RUN}"))
    for words in (
        "Not at its end",
        "least held-out loss, step 50",
        "3.25",
        "5 pairs for training and 0 held out",
        "Earlier: 2 pictures of pair 2",
        "gim train inspect tiny-0123abcd 7 --bad",
        "weights-40.ckpt",
        "too few labels",
    ):
        assert words in page.text, words
    rows = page.text.split("Skipped pairs and bad steps")[1].split("What it is")[0]
    assert "100" in rows  # 2 in each of 50 points
    assert sum(tag == "img" for tag, _ in page.tags) == 6
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 5
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_the_page_is_safe_and_points_at_nothing_outside(store, tmp_path):
    whole_run(store)
    html = written(store, tmp_path)
    page = Page(html)
    assert HOSTILE in page.text
    assert not [tag for tag, _ in page.tags if tag in ("script", "b", "iframe", "object", "link-in")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.sources()
    assert all(value.startswith(("#", "data:")) for value in page.sources())
    assert "default-src 'none'" in html
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {v for _, a in page.tags for name, v in a.items() if name == "aria-labelledby"}
    assert named <= set(ids)
    assert {value[1:] for value in page.sources() if value.startswith("#")} <= set(ids)


def test_fifty_thousand_points_make_a_page_of_usual_size(store, tmp_path):
    runs.put_run(store, config=CONFIG)
    runs.put_points(store, [(step, {"loss": 1 / step, "lr": 1e-4}) for step in range(1, 50_001)])
    assert len(written(store, tmp_path)) < 150_000


def test_settings_are_compared_with_the_recipe(store, tmp_path):
    recipe = dict(read_training_recipe("tiny"))
    runs.put_run(store, config=replace(CONFIG, recipe="tiny"))
    changes = written(store, tmp_path).split("Otherwise than in the recipe")[1].split("All settings")[0]
    page = Page(changes)
    assert "train.schedule.pairs" in page.text
    assert str(recipe["schedule.pairs"]) in page.text
    assert "960" in page.text
    assert "train.loop.seed" not in page.text  # as it is in the recipe
    runs.put_run(store, "gone-01234567", replace(CONFIG, recipe="/nowhere/gone.toml"))
    assert "file is not here" in Page(written(store, tmp_path, "gone-01234567")).text


def test_a_run_that_has_only_begun_has_a_page(store, tmp_path):
    runs.put_run(store, config=CONFIG)
    page = Page(written(store, tmp_path))
    for words in ("no checkpoint yet", "No point is stored yet", "No pictures are stored", "not in this store"):
        assert words in page.text, words


def test_a_picture_that_is_damaged_is_left_out(store, tmp_path):
    runs.put_run(store, config=CONFIG)
    runs.put_picture(store, 10, 0)
    store.put(keys.training_picture(runs.RUN, 20, 0), b"no jpeg")
    page = Page(written(store, tmp_path))
    assert [a["alt"] for tag, a in page.tags if tag == "img"] == ["Pair 1 with the weights at the start and of step 10"]


def test_the_same_store_gives_the_same_bytes(store, tmp_path):
    whole_run(store)
    assert written(store, tmp_path) == written(store, tmp_path)


def test_a_run_that_is_misspelt_is_refused_with_the_nearest_name(store, tmp_path):
    runs.put_run(store, config=CONFIG)
    with pytest.raises(
        InvalidInput, match=r"no run 'tiny-0123abce' in this store \(did you mean tiny-0123abcd\?\); see"
    ):
        write_run_page(store, "run:tiny-0123abce", tmp_path / "page.html")


@pytest.mark.parametrize("run", ["", "../..", "run:tiny-0123abcd/log", "tiny 0123abcd", "tiny-0123abcd/run.json"])
def test_what_is_no_name_of_a_run_is_refused(store, tmp_path, run):
    runs.put_run(store, config=CONFIG)
    with pytest.raises(InvalidInput, match=r"no run .*see `gim ls runs`"):
        write_run_page(store, run, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_checkpoints_of_somebody_else_are_no_run(store, tmp_path):
    runs.put_checkpoint(store, 20)
    with pytest.raises(InvalidInput, match=r"has checkpoints, and no checkpoints/tiny-0123abcd/run\.json"):
        write_run_page(store, runs.RUN, tmp_path / "page.html")


def test_a_place_that_cannot_be_written_is_said(store, tmp_path):
    runs.put_run(store, config=CONFIG)
    (tmp_path / "page.html").mkdir()
    with pytest.raises(InvalidInput, match=r"page\.html: cannot be written"):
        write_run_page(store, runs.RUN, tmp_path / "page.html")


@pytest.mark.browser
def test_the_page_fits_a_telephone_and_asks_for_nothing(store, tmp_path, chromium):
    from playwright.sync_api import sync_playwright

    whole_run(store)
    (tmp_path / "run.html").write_text(written(store, tmp_path))
    address = (tmp_path / "run.html").as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=list(FLAGS))
        with watched_page(browser, viewport={"width": 390, "height": 800}) as watched:
            watched.page.goto(address)
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
            for scheme in ("light", "dark"):
                watched.page.emulate_media(color_scheme=scheme)
                ink, paper = watched.page.evaluate(
                    "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
                    ".map(text => text.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))"
                )
                assert (ink < paper) is (scheme == "light")
            assert (watched.asked, watched.complaints) == ([address], [])
        browser.close()
