"""The registry: files are found, checked, loaded alone, and what is wrong is said in one line."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gim.errors import ConfigError, UnknownMatcher
from gim.matchers import registry
from gim.matchers.registry import (
    described_class,
    load_matcher,
    matcher_class,
    matcher_names,
    matcher_status,
    weights_of,
)
from tests.architecture.tree import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of matchers in place of the real one."""
    import gim.matchers

    replacement = tmp_path / "gim" / "matchers"
    replacement.mkdir(parents=True)
    monkeypatch.setattr(registry, "_FOLDER", replacement)
    monkeypatch.setattr(gim.matchers, "__path__", [*gim.matchers.__path__, str(replacement)])
    before = set(sys.modules)
    yield replacement
    for name in set(sys.modules) - before:
        if name.startswith("gim.matchers."):
            del sys.modules[name]


MATCHER = """
from gim.matchers.base import Matcher
class {cls}(Matcher):
    name = "{name}"
    def match(self, image0, image1, mask0=None, mask1=None):
        raise NotImplementedError
"""


def test_matcher_names_lists_files_that_are_matchers():
    names = matcher_names()
    assert "rootsift" in names
    assert not {"base", "nearest", "registry", "__init__"} & set(names)
    assert names == sorted(names)


def test_load_matcher_without_settings_takes_the_defaults():
    matcher = load_matcher("rootsift")
    assert (matcher.name, matcher.config.ratio) == ("rootsift", 0.8)


def test_load_matcher_takes_settings_as_text():
    assert load_matcher("rootsift", {"max_keypoints": "512", "ratio": "0.7"}).config.max_keypoints == 512


def test_load_matcher_when_name_is_misspelt_names_the_near_one():
    with pytest.raises(UnknownMatcher, match=r"no matcher 'rotsift' \(did you mean rootsift\?\)"):
        load_matcher("rotsift")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RootSIFT", "rootsift"),
        ("superpoint-lightglue", "superpoint_lightglue"),
        ("gim-loftr", "gim_loftr"),
        ("romma", "roma"),
        ("aliked", "aliked_mnn"),
    ],
)
def test_the_nearest_name_comes_first(name, nearest):
    with pytest.raises(UnknownMatcher, match=rf"\(did you mean {nearest}\b"):
        load_matcher(name)


@pytest.mark.parametrize("name", ["base", "../rootsift", "", "nn", "registry"])
def test_load_matcher_of_what_is_no_matcher_refuses(name):
    with pytest.raises(UnknownMatcher, match="no matcher"):
        load_matcher(name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ratioo": 1}, r"no setting 'ratioo' \(did you mean ratio\?\)"),
        ({"ratio": "x"}, "setting ratio: .*number"),
        ({"max_keypoints": 1.5}, "setting max_keypoints"),
        ({"ratio": -1}, "ratio > 0"),
    ],
)
def test_load_matcher_when_setting_is_wrong_names_it(config, message):
    with pytest.raises(ConfigError, match=message):
        load_matcher("rootsift", config)


def test_matcher_status_when_package_is_missing_says_which_without_importing(folder: Path):
    (folder / "needy.py").write_text("raise SystemError('imported')\nimport no_such_package.sub\nimport numpy\n")
    assert matcher_status("needy") == "needs no_such_package, not installed"
    with pytest.raises(UnknownMatcher, match="'needy' cannot run here: needs no_such_package"):
        matcher_class("needy")


def test_where_the_packages_of_networks_are_missing_the_message_says_how_to_get_them(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "kornia") else found(name))
    expected = "needs kornia, torch, not installed: `make models`, or pip install 'gim-pipeline[models]'"
    assert matcher_status("loftr") == expected
    assert described_class("loftr").name == "loftr"  # what it is can be told all the same
    assert weights_of("loftr", described_class("loftr"), {"weights": "loftr_indoor"}) == ("loftr_indoor",)
    assert matcher_status("rootsift") == ""
    with pytest.raises(UnknownMatcher, match="matcher 'loftr' cannot run here: needs kornia, torch, not installed: `"):
        load_matcher("loftr")


def test_how_to_install_is_said_of_what_the_extra_brings():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["models"]
    assert {re.split(r"[<>=]", entry)[0] for entry in extra} == registry._MODELS_EXTRA


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nothing", "x = 1\n"),
        ("two", MATCHER.format(cls="A", name="two") + MATCHER.format(cls="B", name="two")),
        ("misnamed", MATCHER.format(cls="A", name="other")),
        ("borrowed", "from gim.matchers.rootsift import RootSift\n"),
    ],
)
def test_matcher_class_when_file_breaks_the_rule_refuses(folder: Path, name, text):
    (folder / f"{name}.py").write_text(text)
    with pytest.raises(UnknownMatcher, match="exactly one Matcher class"):
        matcher_class(name)


def test_matcher_class_of_new_file_is_found(folder: Path):
    (folder / "newcomer.py").write_text(MATCHER.format(cls="Newcomer", name="newcomer"))
    assert matcher_names() == ["newcomer"]
    assert matcher_class("newcomer").__name__ == "Newcomer"


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_naming_loading_and_importing_every_matcher_imports_no_heavy_package():
    loaded = in_a_new_process(
        "import json, sys; from gim.matchers.registry import described_class, load_matcher, matcher_names, "
        "matcher_status; [(matcher_status(name), described_class(name)) for name in matcher_names()]; "
        "load_matcher('rootsift'); print(json.dumps(sorted(sys.modules)))"
    )
    assert "gim.matchers.roma" in loaded
    assert not {"torch", "torchvision", "kornia", "safetensors", "kafka", "minio", "grpc"} & set(loaded)


def test_importing_gim_and_the_registry_takes_less_than_half_a_second():
    code = "import json, time; import gim, gim.matchers.registry; print(json.dumps(time.process_time()))"
    assert min(in_a_new_process(code) for _ in range(3)) < 0.5  # of a processor, the interpreter's own start with it


def test_threads_that_ask_at_once_parse_one_file_at_a_time(parsing: list[int]) -> None:
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda _: matcher_status("rootsift"), range(8)))
    assert found == [""] * 8
    assert max(parsing) == 1
