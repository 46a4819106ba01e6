"""The Makefile explains itself."""

import re
import subprocess

from tests.architecture.tree import ROOT


def test_make_alone_lists_every_target_a_person_may_call():
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE))
    said = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make (\S+)", said, re.MULTILINE)) == phony
    assert {"help", "run", "setup", "test", "lint", "types"} <= phony


def test_every_script_is_executable_and_strict():
    for script in [ROOT / ".ci" / "run", *(ROOT / "scripts").iterdir()]:
        assert script.stat().st_mode & 0o111, script
        assert "\nset -euo pipefail\n" in script.read_text(), script
