"""`gim doctor`: what this machine, this installation and its servers can do, and why they cannot do the rest."""

import json
import os
import platform
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings
from gim.errors import GimError

if TYPE_CHECKING:
    from gim.settings import Settings

_LEAST_FREE_BYTES = 2**30
# What the services need besides. Without crc32c kafka-python sums in Python: up to 100 times slower.
_CLIENTS = ("kafka-python", "crc32c", "minio", "grpcio", "prometheus-client", "opentelemetry-sdk")


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
    """Say what is installed, what can run here and which servers answer. Exit code 1 when the main job cannot.

    Where the settings name a cluster (s3://BUCKET, kafka.bootstrap_servers), that is asked too.
    """
    from gim.runtime.opening import is_remote

    settings = load_settings(sets, config, store=store)
    remote = is_remote(settings)
    folder = _existing_parent(Path("." if remote else settings.store).absolute())
    facts: dict[str, Any] = {
        "gim": version("gim-pipeline"),
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cores": _usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "store": settings.store,
        "store_free_bytes": shutil.disk_usage(folder).free,
        "packages": _packages(),
        "clients": {name: _version(name) for name in _CLIENTS},
        "servers": _servers(settings, has_bucket=remote),
        "matchers": _matchers(settings),
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
    if facts["servers"]:
        problems += [f"package {name} is not installed" for name, found in facts["clients"].items() if not found]
    return problems + [problem for problem in facts["servers"].values() if problem]


def _packages() -> dict[str, str]:
    """Installed version of every package the main job needs; empty where it is missing."""
    found = {}
    for requirement in requires("gim-pipeline") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        found[name] = _version(name)
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _servers(settings: "Settings", *, has_bucket: bool) -> dict[str, str]:
    """What is wrong with each server that the settings name; empty for one that is as it should be."""
    found = {}
    if has_bucket:
        found[f"{settings.store} at {settings.s3.endpoint}"] = _bucket_fault(settings)
    if settings.kafka.bootstrap_servers:
        found[f"Kafka at {','.join(settings.kafka.bootstrap_servers)}"] = _topics_fault(settings)
    return found


def _bucket_fault(settings: "Settings") -> str:
    try:
        from gim.runtime.cluster import has_place

        missing = f"{settings.store} does not exist: make it with `gim cluster init`"
        return "" if has_place(settings) else missing
    except (GimError, ImportError) as error:
        return str(error)


def _topics_fault(settings: "Settings") -> str:
    try:
        from gim.runtime.cluster import topics_to_make

        missing = [settings.kafka.prefix + name for name in topics_to_make(settings)]
    except (GimError, ImportError) as error:
        return str(error)
    return f"topics are missing: {', '.join(missing)}; make them with `gim cluster init`" if missing else ""


def _matchers(settings: "Settings") -> dict[str, str]:
    """Why each matcher cannot run here; empty for one that can. Of runs and bridges only what is wanted."""
    from gim.matchers.registry import is_bridged, is_trained, matcher_names, matcher_status
    from gim.runtime.trained import with_run

    found = {name: matcher_status(name) for name in matcher_names()}
    for name in settings.matchers:
        if not is_bridged(name) and not is_trained(name):
            continue
        try:
            looked_up, pinned = with_run(settings, name)
            found[name] = matcher_status(pinned, looked_up.matcher.get(pinned))
        except GimError as error:
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
    print(f"{'store':<10} {facts['store']}")
    print(f"{'disk':<10} {facts['store_free_bytes'] / 2**30:.1f} GiB free")
    packages = ", ".join(f"{name} {found or 'MISSING'}" for name, found in facts["packages"].items())
    print(f"{'packages':<10} {packages}")
    clients = ", ".join(f"{name} {found or 'missing'}" for name, found in facts["clients"].items())
    print(f"{'clients':<10} {clients}")
    for name, fault in facts["servers"].items():
        print(f"{'server':<10} {name}: {'see below' if fault else 'answers, and has what is needed'}")
    for name, reason in facts["matchers"].items():
        print(f"{'matcher':<10} {name}: {reason or 'can run here'}")
    youtube = facts["youtube"]
    lost = f"{youtube['missing']}; until then it gives few formats, and for some videos none"
    print(f"{'youtube':<10} {lost if youtube['missing'] else 'can be read, with ' + youtube['javascript']}")
    for problem in problems:
        print(f"{'problem':<10} {problem}")
    if not problems:
        print("the main job can run here")
