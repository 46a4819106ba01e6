"""The registry: files are found, checked, loaded alone, and what is wrong is said in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from gim.errors import ConfigError, UnknownMatcher
from gim.matchers import registry
from gim.matchers.registry import load_matcher, matcher_class, matcher_names, matcher_status


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


def test_loading_rootsift_imports_no_heavy_package():
    code = (
        "import sys; from gim.matchers.registry import load_matcher, matcher_names, matcher_status; "
        "[matcher_status(name) for name in matcher_names()]; load_matcher('rootsift'); "
        "print(sorted({'torch', 'kafka', 'minio', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
