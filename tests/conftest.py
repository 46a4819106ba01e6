"""What every test may ask for, and which tests run: the sample data, a browser, and the slow ones.

A test that needs something absent from this machine is skipped with a word; where `GIM_REQUIRE` names the thing
(`all`, or some of `shared`, `browser`, `models`, `servers`), as in CI, its absence is a failure instead.
With `--parity FILE`, only the comparisons with original implementations run, and leave their numbers in a file.
"""

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.requirements import KNOWN, lacks, required
from tests.sample_data import shared_folder

pytest_plugins = ["tests.counted_matches", "tests.servers", "tests.watched_parser"]

# Workers share the cores out: torch's threads wait by spinning, and two times all of them take five times as long.
# Before anything is imported that starts threads, and for every process that a test starts.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // workers, 1)))

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A shared machine pauses at will, so time per example says nothing; where things are required, chance has no say.
settings.register_profile("gim", deadline=None, derandomize=bool(os.environ.get("GIM_REQUIRE")))
settings.load_profile("gim")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `python -m bench.parity` runs the tests with."""
    what = "run all tests that compare with an original implementation, no others; append each difference to FILE"
    parser.addoption("--parity", type=Path, metavar="FILE", help=what)


def pytest_configure() -> None:
    """Refuse a requirement nobody checks."""
    unknown = set(required()) - {"all", *KNOWN}
    if unknown:
        raise pytest.UsageError(f"GIM_REQUIRE: unknown {', '.join(sorted(unknown))}; use all, {', '.join(KNOWN)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out unless they are asked for by `-m slow`, `GIM_SLOW=1` or by name; then run them last."""
    items.sort(key=_turn)
    if config.getoption("parity", None):
        _keep_only(config, items, lambda item: "record_parity" in getattr(item, "fixturenames", ()))
        return
    if os.environ.get("GIM_SLOW") or "slow" in config.option.markexpr or any("::" in name for name in config.args):
        return
    _keep_only(config, items, lambda item: item.get_closest_marker("slow") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a marked test before its fixtures cost anything; leave slow ones out when their time is up."""
    if item.get_closest_marker("slow") and time.time() > float(os.environ.get("SLOW_UNTIL", "inf")):
        pytest.skip("the time of slow tests is up: SLOW_UNTIL")
    if item.get_closest_marker("shared") and not shared_folder().is_dir():
        lacks("shared", f"no sample data in {shared_folder()}: set GIM_SHARED")
    if item.get_closest_marker("browser") and _find_chromium() is None:
        lacks("browser", "no Chromium on PATH: apt-get install chromium")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder beside the checkout that holds `data/`, the sample videos and images."""
    if not shared_folder().is_dir():
        lacks("shared", f"no sample data in {shared_folder()}: set GIM_SHARED")
    return shared_folder()


@pytest.fixture(scope="session")
def shared_if_there() -> Path | None:
    """The same folder, or None: for tests that can do without."""
    return shared_folder() if shared_folder().is_dir() else None


@pytest.fixture(scope="session")
def lacks_models() -> Callable[[str], None]:
    """What to call where the packages of networks are not installed, with the reason."""
    return lambda reason: lacks("models", reason)


@pytest.fixture
def record_parity(request: pytest.FixtureRequest) -> Callable[[str, str, float, float], None]:
    """Hold a difference from an original implementation to its tolerance; `--parity` also writes it down.

    Called with the golden set's name, the quantity, its largest absolute difference, and the largest allowed.
    """
    file: Path | None = request.config.getoption("parity", None)

    def record(golden: str, quantity: str, difference: float, tolerance: float) -> None:
        measured = {"max_abs_difference": float(difference), "tolerance": tolerance}
        if file is not None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"golden": golden, "quantity": quantity} | measured) + "\n")
        assert difference <= tolerance, f"{golden}: {quantity}"

    return record


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's executable, for `playwright.chromium.launch(executable_path=...)`."""
    found = _find_chromium()
    if found is None:
        lacks("browser", "no Chromium on PATH: apt-get install chromium")
    assert found is not None
    return found


def _turn(item: pytest.Item) -> tuple[bool, int]:
    """Slow tests last, their files in an order that `SLOW_ORDER` says: where time runs out, it does for others."""
    order = os.environ.get("SLOW_ORDER")
    if item.get_closest_marker("slow") is None:
        return False, 0
    return True, zlib.crc32(f"{order} {item.path.name}".encode()) if order else 0


def _keep_only(config: pytest.Config, items: list[pytest.Item], is_wanted: Callable[[pytest.Item], bool]) -> None:
    others = [item for item in items if not is_wanted(item)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if is_wanted(item)]


def _find_chromium() -> Path | None:
    return next((Path(found) for name in _CHROMIUM_NAMES if (found := shutil.which(name))), None)
