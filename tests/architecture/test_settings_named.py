"""Wherever a message, a comment or a page names a setting, or a number of a plan, it exists."""

import re

from gim.assignments import setting_types
from gim.settings import Settings
from gim.simulation.plan import MatcherPlan, Plan
from tests.architecture.tree import ROOT, project_files

_NAMED = re.compile(r"--set[ =](?P<path>[a-z_0-9]+(?:\.[a-z_0-9]+)+)")


def test_every_setting_that_is_named_exists():
    known = {*setting_types(Settings), *setting_types(Plan)}  # `gim simulate` takes the numbers of a plan
    of_matcher = setting_types(MatcherPlan)
    sections = {path.rpartition(".")[0] for path in known}
    places = [path for path in project_files(".py", ".md", ".html") if (ROOT / "tests") not in path.parents]
    wrong = [
        f"{place.relative_to(ROOT)}: {found['path']}"
        for place in places
        for found in _NAMED.finditer(place.read_text())
        if found["path"] not in known
        and found["path"] not in sections
        and not found["path"].startswith("matcher.")
        and not (found["path"].startswith("matchers.") and found["path"].rpartition(".")[2] in of_matcher)
        and found["path"] != "section.field"
    ]
    assert wrong == []
