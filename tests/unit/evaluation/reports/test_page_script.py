"""What a person does with the page, in a browser: sort the table, bring a method forward, read it on a telephone."""

from functools import partial

import pytest

from gim.evaluation.reports.page import as_page
from tests.e2e.browser import FLAGS, watched_page
from tests.unit.evaluation.reports.made_results import HOSTILE

_OPACITIES = "groups => groups.map(group => getComputedStyle(group).opacity)"


@pytest.mark.browser
def test_page_when_used_then_sorts_fades_fits_and_asks_for_nothing(three, chromium, tmp_path):
    from playwright.sync_api import sync_playwright

    (tmp_path / "page.html").write_text(as_page(three))
    address = (tmp_path / "page.html").as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=list(FLAGS))
        with watched_page(browser, viewport={"width": 390, "height": 800}) as watched:
            page = watched.page
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390

            page.get_by_role("button", name="Mean").click()
            means = page.eval_on_selector_all(
                ".scores td:nth-child(2)", "cells => cells.map(cell => Number(cell.dataset.value))"
            )
            assert means == sorted(means, reverse=True)
            page.locator(".scores").get_by_role("button", name="KITTI").click()
            assert page.locator(".scores [aria-sort]").all_inner_texts() == ["KITTI"]
            assert page.locator(".scores tbody th").last.inner_text().startswith("sift")  # it has no results there

            opacities = partial(page.eval_on_selector_all, ".chart g[class^=of]", _OPACITIES)
            legend = page.locator("[data-method='1']").first
            assert legend.inner_text() == HOSTILE
            legend.click()
            assert set(opacities()) == {"1", "0.13"}
            legend.click()
            assert set(opacities()) == {"1"}

            page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
            assert page.locator("details:not([open])").count() == 0
            assert (watched.asked, watched.complaints) == ([address], [])
        browser.close()
