import json

import pytest

from gim.cli.main import run_command


def listed(capsys, *arguments):
    assert run_command(["ls", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_matchers_are_listed_with_what_keeps_them_from_running(capsys):
    rows = listed(capsys, "matchers")["matchers"]
    assert {"matcher": "rootsift", "runs_here": "yes"} in rows


def test_recipes_are_listed_with_their_sources(capsys):
    rows = listed(capsys, "recipes")["recipes"]
    assert {row["recipe"] for row in rows} == {"paper", "standard", "upstream"}
    assert all(row["source"] for row in rows)


def test_settings_are_listed_with_their_effective_values(capsys):
    rows = {
        row["setting"]: row
        for row in listed(capsys, "settings", "--recipe", "upstream", "--set", "run.jobs=3")["settings"]
    }
    assert rows["run.jobs"]["value"] == 3
    assert rows["propagation.min_links"]["value"] == 512
    assert rows["propagation.link"]["allowed"] == "one of mutual, distance, rounded"
    assert rows["propagation.refit.threshold_px"]["value"] == "(section is off)"


@pytest.mark.parametrize("kind", ["matchers", "recipes", "settings"])
def test_what_is_listed_can_be_read_by_people(capsys, kind):
    assert run_command(["ls", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert lines[0].startswith(kind.removesuffix("s"))


def test_no_setting_name_is_cut_short(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert run_command(["ls", "settings"]) == 0
    assert "propagation.merge_base_intervals" in capsys.readouterr().out
