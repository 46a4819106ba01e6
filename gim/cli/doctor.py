"""`gim doctor`: what this machine and this installation can do, and why they cannot do the rest."""

import json
import os
import platform
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings

_LEAST_FREE_BYTES = 2**30


def register(app: typer.Typer) -> None:
    """Add `gim doctor`."""
    app.command("doctor")(diagnose)


def diagnose(
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what is installed and what can run here. Exit code 1 when the main job cannot."""
    settings = load_settings(sets, config, store=store)
    folder = _existing_parent(Path(settings.store).absolute())
    facts: dict[str, Any] = {
        "gim": version("gim-pipeline"),
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cores": _usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "store": settings.store,
        "store_free_bytes": shutil.disk_usage(folder).free,
        "packages": _packages(),
        "matchers": _matchers(settings.matchers),
        "youtube": _youtube(),
    }
    problems = _problems(facts, settings.matchers, folder)
    if as_json:
        print(json.dumps({**facts, "problems": problems}))
    else:
        _print_facts(facts, problems)
    return 1 if problems else 0


def _problems(facts: dict[str, Any], wanted: tuple[str, ...], folder: Path) -> list[str]:
    problems = [f"package {name} is not installed" for name, found in facts["packages"].items() if not found]
    for name in wanted:
        reason = facts["matchers"].get(name, "unknown, see `gim ls matchers`")
        problems += [f"matcher {name}: {reason}"] if reason else []
    if facts["store_free_bytes"] < _LEAST_FREE_BYTES:
        problems.append(f"less than 1 GiB is free in {folder}")
    if not os.access(folder, os.W_OK):
        problems.append(f"no permission to write in {folder}")
    return problems


def _packages() -> dict[str, str]:
    """Installed version of every package the main job needs; empty where it is missing."""
    found = {}
    for requirement in requires("gim-pipeline") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _matchers(wanted: tuple[str, ...]) -> dict[str, str]:
    """Why each matcher cannot run here; empty for one that can. Of those behind bridges only what is wanted."""
    from gim.errors import UnknownMatcher
    from gim.matchers.registry import is_bridged, matcher_names, matcher_status

    found = {name: matcher_status(name) for name in matcher_names()}
    for name in filter(is_bridged, wanted):
        try:
            found[name] = matcher_status(name)
        except UnknownMatcher as error:
            found[name] = str(error)
    return found


def _youtube() -> dict[str, str]:
    """What reads YouTube's pages, and what is missing for all of its formats; the main job can do without."""
    from gim.video.sources.youtube_runtime import find_javascript

    found = find_javascript()
    return {"javascript": found.runtime, "yt_dlp_ejs": found.scripts, "missing": found.missing}


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.is_dir())


def _print_facts(facts: dict[str, Any], problems: list[str]) -> None:
    for name in ("gim", "python", "system", "cores"):
        print(f"{name:<10} {facts[name]}")
    print(f"{'memory':<10} {facts['memory_bytes'] / 2**30:.1f} GiB")
    print(f"{'store':<10} {facts['store']} ({facts['store_free_bytes'] / 2**30:.1f} GiB free)")
    packages = ", ".join(f"{name} {found or 'MISSING'}" for name, found in facts["packages"].items())
    print(f"{'packages':<10} {packages}")
    for name, reason in facts["matchers"].items():
        print(f"{'matcher':<10} {name}: {reason or 'can run here'}")
    youtube = facts["youtube"]
    lost = f"{youtube['missing']}; until then it gives few formats, and for some videos none"
    print(f"{'youtube':<10} {lost if youtube['missing'] else 'can be read, with ' + youtube['javascript']}")
    for problem in problems:
        print(f"{'problem':<10} {problem}")
    if not problems:
        print("the main job can run here")
