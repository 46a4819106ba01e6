"""The pages are true: links lead somewhere, commands exist, code runs, figures come from results and code."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from xml.etree import ElementTree

import numpy as np
import pytest
import typer

from bench import parity, readme
from gim.assignments import setting_types
from gim.cli.main import build_app
from gim.labels.shards import ShardWriter
from gim.records import PairQuality, TrainingPair
from gim.settings import Settings
from tests.architecture.tree import ROOT, project_files

PAGES = [path for path in project_files(".md") if path.parent in (ROOT, ROOT / "docs")]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"(?<![\w/])(?:gim|tests|bench|docs|protos|scripts)/[\w./-]*\w")
_MADE_UP = {"gim/matchers/upright_sift.py"}  # the example that a reader is to write


def names(path):
    return str(path.relative_to(ROOT))


def blocks(path, *languages):
    return [code for language, code in _BLOCK.findall(path.read_text()) if language in languages]


def prose(path):
    return _BLOCK.sub("", path.read_text())


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(program):
    """Every call of a program in the shell blocks, as (page, words after the program's name)."""
    found = []
    for page in PAGES:
        for code in blocks(page, "sh", ""):
            for line in code.splitlines():
                words = shlex.split(line.partition(" | ")[0], comments=True)  # what it is piped into is another's
                if words and words[0].rpartition("/")[2] == program:
                    found.append(pytest.param(words[1:], id=f"{page.name}: {line[:60]}"))
    return found


def test_there_are_pages_with_code():
    assert {"README.md", "CONTRIBUTING.md", "architecture.md", "adding-a-matcher.md", "formats.md", "settings.md"} <= {
        page.name for page in PAGES
    }
    assert len(commands("gim")) > 10
    assert len(commands("make")) > 5


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_files_that_are_named_exist(page):
    named = set(_FILE.findall(page.read_text())) - _MADE_UP
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_shell_blocks_parse(page):
    for code in blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=code, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("words", commands("gim"))
def test_gim_commands_are_accepted_by_the_command_line(words):
    command = typer.main.get_command(build_app()).commands[words[0]]
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("words", commands("make"))
def test_make_targets_exist(words):
    phony = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= phony


@pytest.fixture
def store_with_a_shard(tmp_path):
    """A folder in which data/store holds one shard of one pair, and no more."""
    folder = tmp_path / "data/store/pairs/file-0123456789abcdef/standard-00000000"
    folder.mkdir(parents=True)
    quality = PairQuality(**{field.name: 1 for field in fields(PairQuality)})
    points = np.ones((3, 4), np.float32)
    with ShardWriter(folder / "00000.tar") as writer:
        writer.add(TrainingPair("file-0123456789abcdef", 0, 9, 0.0, 0.3, points, np.eye(3), quality), b"0", b"1")
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/formats.md"])
def test_python_that_reads_a_shard_runs(page, store_with_a_shard):
    (code,) = blocks(ROOT / page, "python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=store_with_a_shard, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(3, 4)" in done.stdout


@pytest.mark.parametrize("picture", sorted((ROOT / "docs/images").glob("*.svg")), ids=names)
def test_pictures_speak_and_suit_dark_and_light_pages(picture):
    root = ElementTree.parse(picture).getroot()
    assert {"title", "desc"} <= {element.tag.rpartition("}")[2] for element in root}
    text = picture.read_text()
    assert "prefers-color-scheme: dark" in text
    assert 'class="page"' in text  # a ground of its own: the page behind it may have any colour


@pytest.mark.parametrize(
    "page",
    [
        "README.md", "docs/settings.md", "docs/formats.md", "docs/parity.md", "docs/results.md", "docs/runbook.md",
        "docs/simulation.md",
        "services/README.md",
    ],
)  # fmt: skip
def test_what_is_made_from_code_and_results_is_up_to_date(page):
    assert (ROOT / page).read_text() == readme.pages()[ROOT / page], "run `python -m bench.readme`"


def test_every_setting_is_documented():
    rows = set(re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert sorted(set(setting_types(Settings)) - rows) == []


def test_every_part_of_the_package_is_in_the_layout():
    (layout,) = re.findall(
        r"^## Layout\n\n```text\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    parts = {path.parent.name for path in (ROOT / "gim").glob("*/__init__.py")}
    assert {part for part in parts if f"gim/{part}/" not in layout} == set()


def test_results_are_shown_with_their_verdict(tmp_path):
    assert "make bench" in readme.results_part(tmp_path)
    found = {
        "machine": {"processor": "A processor", "cores": 2},
        "effort": "normal",
        "name": "speed",
        "claims": [
            {"what": "times faster", "asked": ">= 8x", "measured": "9.1x", "holds": True},
            {"what": "memory", "asked": "<= 1.2", "measured": "1.3", "holds": False},
            {"what": "hours a day", "asked": "", "measured": "40", "holds": None},
        ],
        "tables": [{"title": "Steps", "columns": ["step", "s"], "rows": [["decode", 1.23456], ["link", None]]}],
        "notes": ["one run"],
    }
    (tmp_path / "speed.json").write_text(json.dumps(found))
    shown = readme.results_part(tmp_path)
    assert "A processor, 2 cores" in shown
    assert "| times faster | >= 8x | 9.1x | holds |" in shown
    assert "| memory | <= 1.2 | 1.3 | **falls short** |" in shown
    assert "| hours a day |  | 40 |  |" in shown
    assert "| decode | 1.235 |" in shown
    assert "| link | - |" in shown
    assert "Note: one run" in shown


def test_parity_is_shown_by_golden_set(tmp_path):
    file = tmp_path / "parity.json"
    assert "python -m bench.parity" in parity.tables(file)
    packages = dict.fromkeys(("torch", "torchvision", "kornia", "numpy", "opencv-python-headless"), "1.0")
    machine = {"processor": "A processor", "python": "3.11", "packages": packages}
    found = [("dkm", "warp", 2e-4, 1e-3), ("dkm", "cert", 0.0, 1e-3), ("roma", "flow", 3e-6, 1e-4)]
    names = ("golden", "quantity", "max_abs_difference", "tolerance")
    file.write_text(
        json.dumps({"machine": machine, "differences": [dict(zip(names, row, strict=True)) for row in found]})
    )
    shown = parity.tables(file)
    assert "A processor" in shown
    assert "kornia 1.0" in shown
    assert re.search(r"^\| \[dkm\]\(#dkm\) \| `dkm` \| .*\| 2 \| 20.0% \|$", shown, re.MULTILINE)
    assert "| warp | 2.0e-04 | 1.0e-03 |" in shown
    assert "| cert | 0 | 1.0e-03 |" in shown
    assert shown.index("## dkm") < shown.index("| cert |") < shown.index("## roma") < shown.index("| flow |")


@pytest.mark.shared
def test_every_golden_set_is_in_the_parity_table(shared_data):
    stored = {path.parent.name for path in shared_data.glob("golden/*/golden.npz")}
    assert stored | {"rootsift"} == set(parity.ORIGINALS)
    recorded = json.loads(parity.RESULT.read_text())["differences"]
    assert {row["golden"] for row in recorded} == set(parity.ORIGINALS)
    assert all(row["max_abs_difference"] <= row["tolerance"] for row in recorded)


def test_a_page_without_the_section_is_refused():
    assert readme.replace_section("a <!-- x:begin -->old<!-- x:end --> b", "x", "new") == (
        "a <!-- x:begin -->\nnew\n<!-- x:end --> b"
    )
    with pytest.raises(ValueError, match="x:begin"):
        readme.replace_section("a <!-- x:begin --> b", "x", "new")
