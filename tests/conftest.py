"""What every test may ask for, and which tests run: the sample data, a browser, and the slow ones.

A test that needs something absent from this machine is skipped with a word; where `GIM_REQUIRE` names the thing
(`all`, or a comma-separated list of `shared` and `browser`), as in CI, its absence is a failure instead.
"""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

_ROOT = Path(__file__).resolve().parents[1]
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A shared machine pauses at will, so time per example says nothing; where things are required, chance has no say.
settings.register_profile("gim", deadline=None, derandomize=bool(os.environ.get("GIM_REQUIRE")))
settings.load_profile("gim")


def pytest_configure() -> None:
    """Refuse a requirement nobody checks."""
    unknown = set(_required()) - {"all", "shared", "browser"}
    if unknown:
        raise pytest.UsageError(f"GIM_REQUIRE: unknown {', '.join(sorted(unknown))}; use all, shared, browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out unless they are asked for by `-m slow`, `GIM_SLOW=1` or by name; then run them last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    if os.environ.get("GIM_SLOW") or "slow" in config.option.markexpr or any("::" in name for name in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a marked test before its fixtures cost anything."""
    if item.get_closest_marker("shared") and not _shared_folder().is_dir():
        _lacks("shared", f"no sample data in {_shared_folder()}: set GIM_SHARED")
    if item.get_closest_marker("browser") and _find_chromium() is None:
        _lacks("browser", "no Chromium on PATH: apt-get install chromium")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder beside the checkout that holds `data/`, the sample videos and images."""
    if not _shared_folder().is_dir():
        _lacks("shared", f"no sample data in {_shared_folder()}: set GIM_SHARED")
    return _shared_folder()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's executable, for `playwright.chromium.launch(executable_path=...)`."""
    found = _find_chromium()
    if found is None:
        _lacks("browser", "no Chromium on PATH: apt-get install chromium")
    assert found is not None
    return found


def _shared_folder() -> Path:
    return Path(os.environ.get("GIM_SHARED") or _ROOT.parent / "shared")


def _find_chromium() -> Path | None:
    return next((Path(found) for name in _CHROMIUM_NAMES if (found := shutil.which(name))), None)


def _required() -> list[str]:
    return [name for name in os.environ.get("GIM_REQUIRE", "").split(",") if name]


def _lacks(what: str, message: str) -> None:
    if what in _required() or "all" in _required():
        pytest.fail(f"required by GIM_REQUIRE: {message}", pytrace=False)
    pytest.skip(message)
