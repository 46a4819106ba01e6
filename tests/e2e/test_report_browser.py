"""The report in a real browser, offline: what a person clicks, filters, hovers and sees."""

import json
import re
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import expect

from gim.adapters.store_file import FileStore
from gim.report.build import build_report
from gim.report.results import FailedVideo, RunFacts, load_results
from tests import report_data
from tests.e2e.browser import watched_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    store = FileStore(tmp_path_factory.mktemp("store"))
    video_ids = [report_data.good_video(store), report_data.rejected_video(store)]
    run = RunFacts(failed=(FailedVideo("<i>gone</i>.mp4", "it is gone"),))
    return build_report(
        store, load_results(store, video_ids), tmp_path_factory.mktemp("report") / "report.html", run=run
    )


@contextmanager
def opened(browser, report, **settings):
    """The page in a context without network; what it asks for or complains about fails the test."""
    with watched_page(browser, offline=True, **settings) as (page, asked, complaints):
        page.goto(report.as_uri())
        yield page
        assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
        assert complaints == []


@pytest.fixture
def page(browser, report):
    with opened(browser, report) as page:
        yield page


@pytest.fixture
def pairs(page):
    return page.evaluate("data.videos[0].pairs")


def shown_names(page):
    return page.locator("article:not([hidden]) .card").evaluate_all("cards => cards.map(card => card.dataset.name)")


def drawn_canvas(page, name):
    """The canvas of a card, once its picture is drawn."""
    canvas = page.locator(f'.card[data-name="{name}"] canvas')
    canvas.scroll_into_view_if_needed()
    expect(canvas).to_have_attribute("data-ready", name)
    return canvas


def place_on_card(canvas, pair, index, side):
    """Where a correspondence lies on a card: two frames beside each other with a gap of 3 CSS pixels."""
    box = canvas.bounding_box()
    width0, width1 = pair["sizes"][0][0], pair["sizes"][1][0]
    scale = (box["width"] - 3) / (width0 + width1)
    x, y = (value / 100 + 0.5 for value in pair["points"][4 * index + 2 * side : 4 * index + 2 * side + 2])
    return x * scale + (width0 * scale + 3 if side else 0), y * scale


def lonely_point(pair, side):
    """A correspondence with no other near it in this image, and away from the border."""
    points = np.array(pair["points"]).reshape(-1, 4)[:, 2 * side : 2 * side + 2] / 100
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e6 * np.eye(len(points))
    is_inside = np.all((points > 30) & (points < np.array(pair["sizes"][side]) - 30), axis=1)
    return int(np.argmax(np.where(is_inside, distances.min(axis=1), -1)))


def test_report_when_opened_offline_then_shows_text_as_text_and_runs_nothing_foreign(page):
    expect(page.locator("h1")).to_have_text("Training pairs from video")
    expect(page.locator("tr[data-video='1'] a")).to_have_text(report_data.HOSTILE_TITLE)
    expect(page.locator(".videos")).to_contain_text("<i>gone</i>.mp4")
    assert page.evaluate("window.hacked") is None
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<i id=probe></i>')")
    assert page.locator("img[onerror], .videos i").count() == 0


def test_report_when_filtered_then_the_grid_holds_just_what_passes(page, pairs):
    count = page.locator("[data-role=count]").first
    expect(count).to_have_text(re.compile(rf"^{len(pairs)} of \d+ kept pairs are drawn$"))
    page.locator("[name=from]").fill("0.8")
    page.locator("[name=to]").fill("1.6")
    page.locator("[name=least]").fill("200")
    expected = {
        pair["name"]
        for pair in pairs
        if 0.8 <= pair["quality"]["interval_seconds"] <= 1.6 and pair["quality"]["num_correspondences"] >= 200
    }
    assert 0 < len(expected) < len(pairs)
    assert set(shown_names(page)) == expected
    expect(count).to_have_text(f"{len(expected)} of {len(pairs)} drawn pairs shown")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".card")).to_have_count(len(pairs))


def test_report_when_a_tag_and_a_shot_are_chosen_then_only_these(page, pairs):
    page.locator("[name=tag][value=farthest]").click()
    page.locator("[name=shot]").select_option("2")
    expected = {pair["name"] for pair in pairs if "farthest" in pair["tags"] and pair["shot"] == 2}
    assert 0 < len(expected) < len(pairs)
    assert set(shown_names(page)) == expected
    page.locator("[name=least]").fill("100000")
    expect(page.get_by_text("No drawn pair passes these filters.")).to_be_visible()


def test_report_when_sorted_then_ordered_both_ways(page, pairs):
    by_name = {pair["name"]: pair for pair in pairs}
    page.locator("[name=sort]").select_option("residual")
    residuals = [by_name[name]["quality"]["epipolar_residual_px"] for name in shown_names(page)]
    assert residuals == sorted(residuals, reverse=True)  # worst first: the largest residual
    page.locator("[name=direction]").click()
    residuals = [by_name[name]["quality"]["epipolar_residual_px"] for name in shown_names(page)]
    assert residuals == sorted(residuals)


def test_report_when_opened_then_worst_and_best_come_in_turn(page, pairs):
    by_score = sorted(pairs, key=lambda pair: pair["score"])
    assert shown_names(page)[:4] == [by_score[i]["name"] for i in (0, -1, 1, -2)]


def test_report_when_a_histogram_bar_is_clicked_then_the_grid_holds_its_range(page, pairs):
    panel = page.locator(".panel[data-field=interval_seconds]")
    low, high = page.evaluate("data.videos[0].histograms[0].edges.slice(2, 4)")
    bar = panel.locator("button").nth(2)
    bar.click()
    expect(bar).to_have_attribute("aria-pressed", "true")
    inside = [p["name"] for p in pairs if low - 1e-9 <= p["quality"]["interval_seconds"] < high - 1e-9]
    assert 0 < len(inside) < len(pairs)
    assert set(shown_names(page)) == set(inside)
    expect(page.locator("[data-role=hits]").first).to_have_text(
        f"{len(inside)} of the {len(pairs)} drawn pairs fall here"
    )
    bar.click()
    expect(page.locator(".card")).to_have_count(len(pairs))


@pytest.mark.parametrize("side", [0, 1])
def test_report_when_a_point_is_hovered_then_its_epipolar_line_is_that_of_the_pair(page, pairs, side):
    pair = max(pairs, key=lambda pair: pair["quality"]["interval_seconds"])
    canvas = drawn_canvas(page, pair["name"])
    index = lonely_point(pair, side)
    canvas.hover(position=dict(zip("xy", place_on_card(canvas, pair, index, side), strict=True)))
    hover = json.loads(canvas.get_attribute("data-hover"))
    assert (hover["index"], hover["side"]) == (index, side)

    F01 = np.array(pair["F01"]).reshape(3, 3)
    x0, y0, x1, y1 = np.array(pair["points"][4 * index : 4 * index + 4]) / 100
    a, b, c = F01 @ (x0, y0, 1) if side == 0 else F01.T @ (x1, y1, 1)
    ends = np.array(hover["line"]).reshape(2, 2)
    assert np.abs(ends @ (a, b) + c).max() / np.hypot(a, b) < 1e-6
    assert np.linalg.norm(ends[1] - ends[0]) > 50  # across the image, not a dot

    # And it is painted there: yellow halfway along the line, in the other frame.
    page.evaluate("() => new Promise(requestAnimationFrame)")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    width0 = pair["sizes"][0][0]
    colours = canvas.evaluate(
        """(canvas, [ends, offset, total]) => {
            const scale = (canvas.clientWidth - 3) / total;
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [0.2, 0.35, 0.5, 0.65, 0.8].map((t) => {
                const [x, y] = [0, 1].map((k) => (ends[k] + t * (ends[k + 2] - ends[k]) + 0.5) * scale);
                const pixel = Math.floor(y) * width + Math.floor(x + (offset ? offset * scale + 3 : 0));
                return [...data.slice(4 * pixel, 4 * pixel + 3)];
            });
        }""",
        [hover["line"], 0 if side else width0, width0 + pair["sizes"][1][0]],
    )
    yellow = [r > 180 and g > 150 and blue < 150 for r, g, blue in colours]
    assert sum(yellow) >= 4  # a ring around the mate may cover one


def test_report_when_a_pair_is_opened_then_it_can_be_read_zoomed_and_left_by_keys(page, pairs):
    names = shown_names(page)
    by_name = {pair["name"]: pair for pair in pairs}
    drawn_canvas(page, names[0]).click()
    dialog = page.locator("dialog")
    canvas = dialog.locator("canvas")
    expect(canvas).to_have_attribute("data-ready", names[0])
    quality = by_name[names[0]]["quality"]
    expect(dialog.locator(".quality")).to_contain_text(f"{quality['epipolar_residual_px']:.2f} px")
    expect(dialog.get_by_role("button", name="Previous pair")).to_be_disabled()

    page.keyboard.press("ArrowRight")
    expect(canvas).to_have_attribute("data-ready", names[1])
    page.keyboard.press("ArrowDown")
    expect(dialog.locator(".readout")).to_contain_text("Correspondence 1 of")
    page.keyboard.press("ArrowDown")
    expect(dialog.locator(".readout")).to_contain_text("Correspondence 2 of")

    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    fitted = canvas.screenshot()
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(100)
    assert canvas.screenshot() != fitted
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert canvas.screenshot() == fitted
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()


def test_report_when_the_look_is_changed_then_every_picture_follows(page, pairs):
    canvas = drawn_canvas(page, shown_names(page)[0])
    before = canvas.screenshot()
    page.get_by_role("button", name="dots").click()
    page.wait_for_timeout(100)
    dots = canvas.screenshot()
    assert dots != before
    page.locator("[name=colour][value=residual]").click()
    page.wait_for_timeout(100)
    assert canvas.screenshot() != dots
    expect(page.locator(".ramp").first).to_be_visible()


def test_report_when_the_time_line_is_used_then_it_tells_and_opens(page, pairs):
    section = page.locator("article:not([hidden]) .timeline")
    section.locator(".rejected").hover()
    expect(section.locator(".readout")).to_contain_text("rejected, the camera does not move")
    bars = page.evaluate("data.videos[0].bars")
    section.locator(".column").nth(3).hover()
    expect(section.locator(".readout")).to_contain_text(f"{bars[3]['num_correspondences']:,} correspondences")
    drawn = next(i for i, bar in enumerate(bars) if bar["drawn"] >= 0)
    section.locator("svg").focus()
    for _ in range(drawn + 1):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    canvas = page.locator("dialog canvas")
    expect(canvas).to_have_attribute("data-ready", re.compile(r"\d{8}_\d{8}"))


def test_report_when_another_video_is_chosen_then_it_says_why_nothing_was_kept(page):
    page.locator("tr[data-video='1']").click()
    article = page.locator("article:not([hidden])")
    expect(article).to_have_count(1)
    expect(article.locator(".callout")).to_contain_text("Nothing was kept: the camera does not move.")
    page.locator("#search").fill("wall")
    expect(page.locator(".videos tbody tr:visible")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_report_when_seen_narrow_or_dark_then_it_fits(browser, report, *, tmp_path, scheme, width):
    with opened(browser, report, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
        drawn_canvas(page, shown_names(page)[0])
        page.screenshot(path=tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 20_000
        assert page.evaluate("document.documentElement.scrollWidth") == width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", paper))) < 80) == (scheme == "dark")
