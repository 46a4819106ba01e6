"""The page is one safe, whole file: what it draws is what was read, and nothing of it leads outside."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from gim.evaluation.reports.contents import make_contents
from gim.evaluation.reports.page import MAX_CHARTED, as_page
from tests.unit.evaluation.reports.made_results import HOSTILE, results

_VOID = {"meta", "link", "img", "wbr", "input"}


class Page(HTMLParser):
    """Tags with their attributes and the text; refuses tags that are not closed in turn."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.stack, self.html = [], "", [], html
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, tag, class_):
        return sum(name == tag and class_ in attributes.get("class", "").split() for name, attributes in self.tags)


@pytest.fixture(scope="module")
def page(three):
    return Page(as_page(three))


def test_page_when_names_are_hostile_then_they_stay_text(page):
    assert HOSTILE in page.text
    assert not [tag for tag, _ in page.tags if tag == "b"]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_page_when_opened_then_runs_our_script_only_and_fetches_nothing(page):
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", page.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    sources = [v for _, a in page.tags for name, v in a.items() if name in ("src", "href", "srcset", "action")]
    assert all(value.startswith(("#", "data:")) for value in sources)


def test_page_when_it_has_charts_then_each_says_what_it_is_and_has_what_was_read(page, three):
    charts = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    assert all(attributes["aria-label"] for attributes in charts)
    assert page.count("rect", "bar") == 5  # of 3 methods on 2 datasets
    assert page.count("text", "absent") == 1
    assert page.count("line", "reach-line") == 3 + (1 + 2) + (1 + 1) + (1 + 1)
    num_bins = sum(len(score.bins) for item in three.scores.values() for score in item.datasets.values())
    pooled = sum(len(three.scores[name].datasets["GL3D"].bins) for name in three.results)
    dots = [a for tag, a in page.tags if tag == "path" and a.get("class", "").startswith("dot")]
    num_legends = 2 * 3
    assert len(dots) == num_bins + pooled + num_legends


def test_page_when_datasets_are_missing_then_names_them_and_brackets_the_mean(page, three):
    assert "sift: no results of BlendedMVS" in page.text
    assert f"({three.rows[2].mean:.2f})" in page.text
    assert page.count("tr", "printed") == 16
    assert "Printed as 43.9, right is 35.1" in page.text
    marks = {a["href"][1:] for tag, a in page.tags if tag == "a" and a["href"].startswith("#note-")}
    assert marks == {a["id"] for tag, a in page.tags if tag == "li" and "id" in a}


def test_page_when_tables_are_sorted_by_the_script_then_rows_have_the_cells_of_their_heads(page):
    for table in re.findall(r"<table[^>]*data-sortable.*?</table>", page.html, re.DOTALL):
        head, body = table.split("</thead>")
        width = head.count("<th ")
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL):
            spanned = sum(int(number) - 1 for number in re.findall(r'colspan="(\d+)"', row))
            assert len(re.findall(r"<t[hd][ >]", row)) + spanned == width


def test_page_when_there_are_more_methods_than_colours_then_says_which_it_draws():
    many = make_contents([results(f"m{index}", ["yard"], num_pairs=5) for index in range(MAX_CHARTED + 1)])
    page = Page(as_page(many))
    assert page.count("rect", "bar") == MAX_CHARTED
    assert f"the {MAX_CHARTED} methods of the best means, of {MAX_CHARTED + 1}" in page.text


def test_page_when_of_one_method_without_pairs_then_is_whole():
    page = Page(as_page(make_contents([results("m", ["yard"], num_pairs=0)])))
    assert "0.00" in page.text
    assert "Differences" not in page.text
    assert "ZEB" not in page.text


def test_page_when_made_twice_then_has_the_same_bytes(three, page):
    assert as_page(three) == page.html
