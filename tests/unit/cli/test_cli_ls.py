import json
import re
import subprocess
import sys

import pytest

from gim.cli.main import run_command


def listed(capsys, *arguments):
    assert run_command(["ls", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def matchers(capsys, *arguments):
    return {row["matcher"]: row for row in listed(capsys, "matchers", *arguments)["matchers"]}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights, the only place where any can be."""
    monkeypatch.setenv("GIM_WEIGHTS__CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GIM_WEIGHTS__DIR", raising=False)
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def states(row):
    return {item["weights"]: item["state"] for item in row["weights"]}


@pytest.mark.usefixtures("weights")
def test_matchers_are_listed_with_their_kind_their_weights_and_all_licences(capsys):
    rows = matchers(capsys)
    assert rows["rootsift"] == {
        "matcher": "rootsift",
        "kind": "sparse",
        "licence": "Apache-2.0",
        "weights": [],
        "runs_here": "yes",
    }
    assert (rows["dkm"]["kind"], rows["loftr"]["kind"], rows["xfeat"]["kind"]) == ("dense", "dense", "sparse")
    assert rows["dedode"]["licence"] == "MIT"
    assert rows["aliked_mnn"]["weights"] == [
        {"weights": "aliked_n16", "state": "to fetch", "licence": "BSD-3-Clause", "permissive": True}
    ]
    (of_dkm,) = rows["dkm"]["weights"]
    assert "research only" in of_dkm["licence"]
    assert of_dkm["permissive"] is False
    assert "pip install vismatch" in rows["vismatch:NAME"]["runs_here"]


def test_weights_are_here_to_be_fetched_or_to_be_put_by_hand(capsys, weights, monkeypatch):
    roma = {"gim_roma_100h": "by hand", "dinov2_vitl14": "to fetch"}
    assert states(matchers(capsys)["roma"]) == roma
    (weights / "gim_roma_100h.ckpt").touch()
    assert states(matchers(capsys, "--set", f"weights.dir={weights}")["roma"]) == roma | {"gim_roma_100h": "here"}
    monkeypatch.setenv("GIM_WEIGHTS__DIR", str(weights))
    assert states(matchers(capsys)["roma"]) == roma | {"gim_roma_100h": "here"}
    offline = matchers(capsys, "--set", "weights.offline=true")["roma"]
    assert states(offline) == {"gim_roma_100h": "here", "dinov2_vitl14": "by hand"}
    assert offline["runs_here"].startswith("dinov2_vitl14 has to be put by hand: `gim weights get dinov2_vitl14` says")


@pytest.mark.usefixtures("weights")
def test_only_permissive_weights_leaves_those_matchers_that_have_such(capsys):
    rows = matchers(capsys, "--set", "weights.licences=permissive")
    assert rows["gim_loftr"]["runs_here"].startswith("the licence of gim_loftr_50h is not permissive")
    assert states(rows["loftr"]) == {"loftr_outdoor": "to fetch"}


def test_weights_of_the_settings_are_listed_in_place_of_the_defaults(capsys, weights):
    own = weights / "mine.pth"
    changed = ["--set", "matcher.loftr.weights=loftr_indoor", "--set", f"matcher.dkm.weights={own}"]
    rows = matchers(capsys, *changed)
    assert states(rows["loftr"]) == {"loftr_indoor": "to fetch"}
    assert states(rows["dkm"]) == {str(own): "missing"}
    assert rows["dkm"]["runs_here"] == f"there is no file {own}"
    own.touch()
    assert states(matchers(capsys, *changed)["dkm"]) == {str(own): "here"}
    in_dir = ["--set", f"weights.dir={weights}", "--set", "matcher.dkm.weights=mine.pth"]
    assert states(matchers(capsys, *in_dir)["dkm"]) == {"mine.pth": "here"}


def test_a_matcher_whose_packages_are_missing_is_described_all_the_same(capsys, monkeypatch):
    monkeypatch.setattr("gim.matchers.registry.matcher_status", lambda name: "needs torch" if name == "roma" else "")
    row = matchers(capsys)["roma"]
    assert (row["kind"], row["runs_here"], len(row["weights"])) == ("dense", "needs torch", 2)


def test_a_table_of_matchers_fits_a_terminal_of_80_columns(capsys, monkeypatch, weights):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(["ls", "matchers"]) == 0
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()  # a terminal's header is bold
    table = lines[: next(index for index, line in enumerate(lines) if line.startswith("to fetch:"))]
    rows = matchers(capsys)
    assert len(table) == 1 + len(rows) + sum(len(row["weights"]) for row in rows.values())  # nothing is folded
    assert max(len(line) for line in table) <= 80
    assert "…" not in "".join(table)
    assert any(line.split() == ["rootsift", "sparse", "yes", "Apache-2.0"] for line in table)
    assert any(line.split() == ["aliked_n16", "to", "fetch", "BSD-3-Clause,", "permissive"] for line in table)
    assert any(line.startswith("roma: gim_roma_100h has to be put by hand") for line in lines)


def test_listing_matchers_imports_no_torch():
    code = (
        "import sys; from gim.cli.main import run_command; run_command(['ls', 'matchers']); "
        "print('loaded', sorted({'torch', 'kornia', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "superpoint_lightglue" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_segmenters_are_listed_with_what_they_mask_and_could_mask(capsys):
    rows = {row["segmenter"]: row for row in listed(capsys, "segmenters")["segmenters"]}
    assert {"ade20k", "deeplabv3", "lraspp", "selfie"} <= set(rows)
    assert rows["ade20k"]["masks"] == ["person", "car", "sky"]
    assert rows["lraspp"]["masks"] == ["person", "car"]
    assert "bus" in rows["lraspp"]["classes"]
    assert "research only" in rows["ade20k"]["licence_of_weights"][0]
    assert rows["selfie"]["runs_here"] == "yes"


def test_a_table_of_segmenters_counts_many_classes_and_cuts_nothing_at_80_columns(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(["ls", "segmenters"]) == 0
    table = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "…" not in table
    assert "150: wall," in table
    assert "flag" not in table  # the last of them


def test_recipes_are_listed_with_their_sources(capsys):
    rows = listed(capsys, "recipes")["recipes"]
    of_labels = {row["recipe"] for row in rows if row["of"] == "labels"}
    assert of_labels == {"base", "paper", "standard", "upstream"}
    assert {"tiny", "finetune", "gim_dkm"} <= {row["recipe"] for row in rows if row["of"] == "training"}
    assert {"recipe": "no_propagation", "of": "ablation", "source": "dataset.recipes=['base']"} in rows
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


@pytest.mark.parametrize("kind", ["matchers", "segmenters", "recipes", "settings"])
def test_what_is_listed_can_be_read_by_people(capsys, kind):
    assert run_command(["ls", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert lines[0].startswith(kind.removesuffix("s"))


def test_no_setting_name_is_cut_short(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert run_command(["ls", "settings"]) == 0
    assert "propagation.merge_base_intervals" in capsys.readouterr().out
