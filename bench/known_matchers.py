"""Which matchers the benches can load, and with which weights: real ones of the sample data, else filled by rule."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from bench.findings import say
from bench.workspace import Workspace
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, matcher_names, matcher_status
from tests.matcher_files import Files, files_of


def matchers(workspace: Workspace, *, trained_only: bool) -> Iterator[Matcher]:
    """All that can run here, at the sizes users have them."""
    for name in runnable_matchers():
        if not trained_only or is_trained(name, workspace):
            yield load(name, workspace, ModelResources())


def runnable_matchers() -> Iterator[str]:
    """Names of all that can run here; why the others cannot is said."""
    for name in matcher_names():
        if reason := matcher_status(name):
            say(f"{name}: {reason}")
        else:
            yield name


def is_trained(name: str, workspace: Workspace) -> bool:
    """Whether what it finds can be right."""
    return _files(name, workspace).are_real


def load(
    name: str, workspace: Workspace, resources: ModelResources, changes: Mapping[str, Any] | None = None
) -> Matcher:
    """One matcher with the weights at hand, and its default settings but for some."""
    settings = {key: value for key, value in _files(name, workspace).settings.items() if "weights" in key}
    return load_matcher(name, settings | dict(changes or {}), resources)


def has_gpu() -> bool:
    """Whether networks compute on one here."""
    if find_spec("torch") is None:
        return False
    from gim.inference.device import choose_device

    return choose_device("auto").type == "cuda"


def device_of(matcher: Matcher) -> str:
    """Where it computes."""
    return str(matcher.device) if hasattr(matcher, "device") else "cpu"


@cache
def _files(name: str, workspace: Workspace) -> Files:
    folder = workspace.folder / f"weights-{name}"
    folder.mkdir()
    return files_of(name, folder, workspace.data.parent)
