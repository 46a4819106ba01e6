"""Habits that a reader of the tree relies on."""

import ast
import re

import pytest

from tests.architecture.tree import ROOT, project_files

_VAGUE_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py", "manager.py"}
_TEXT = {".py", ".toml", ".md", ".txt", ".cff", ".proto", ".pyi", ".yaml", ".yml", ".html", ".css", ".js", ""}
# Joined here so that this file does not match itself. A path of one machine is of no use on another; a package's
# address is the business of whoever installs.
_MACHINE = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/tm" + "p/lab", "/U" + "sers/"]))
_ADDRESS = re.compile("https?:/" + "/|--index" + "-url|--extra-index" + "-url|--find" + "-links")


def _modules():
    return [path for path in project_files(".py") if (ROOT / "gim") in path.parents]


def test_no_file_has_a_name_that_says_nothing():
    assert [path.name for path in project_files(".py") if path.name in _VAGUE_NAMES] == []


def test_every_module_says_what_it_is_responsible_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in _modules()
        if path.name != "__init__.py" and "v1" not in path.parts and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_init_files_are_empty_or_a_docstring():
    busy = [
        str(path.relative_to(ROOT))
        for path in _modules()
        if path.name == "__init__.py" and len(ast.parse(path.read_text()).body) > 1
    ]
    assert busy == []


def test_no_file_names_a_path_of_one_machine():
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:100]}"
        for path in project_files()
        if path.suffix in _TEXT
        for line in path.read_text(errors="ignore").splitlines()
        if _MACHINE.search(line)
    ]
    assert found == []


_PINNED = sorted(path.name for path in ROOT.glob("constraints*.txt"))


def test_every_extra_has_its_pins():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"constraints.txt", *(f"constraints-{extra}.txt" for extra in extras)} == set(_PINNED)


@pytest.mark.parametrize("name", [*_PINNED, "infra/go.txt"])
def test_pins_carry_a_hash_and_no_address(name):
    text = (ROOT / name).read_text()
    assert not _ADDRESS.search(text)
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    assert entries
    assert all(re.match(r"[a-z0-9._-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_a_package_has_one_version_wherever_it_is_pinned():
    pins = {}
    for name in _PINNED:
        for package, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE):
            pins.setdefault(package, set()).add(version)
    assert {package: versions for package, versions in pins.items() if len(versions) > 1} == {}


def test_every_run_time_dependency_is_pinned_for_the_main_job():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[<>=!~\[; ]", entry)[0].lower() for entry in project["project"]["dependencies"]}
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert wanted <= pinned
    assert not pinned & {"torch", "kafka-python", "minio", "grpcio"}
