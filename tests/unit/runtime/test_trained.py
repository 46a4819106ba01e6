"""A run as a matcher: looked up once, the very bytes of its manifest, beside the matcher whose weights they are."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.cli.doctor import _matchers
from gim.cli.main import run_command
from gim.errors import ConfigError, CorruptObject, GimError, InvalidInput, LicenceRefused, UnknownMatcher
from gim.labels.config import PairingConfig
from gim.matchers.registry import described_class, load_matcher, matcher_class, matcher_status
from gim.records import UsedWeights
from gim.runtime.service_parts import _guide
from gim.runtime.trained import check_pinned, with_run, with_runs
from gim.runtime.wiring import guide_name, load_matchers, weight_names
from gim.settings import Settings
from gim.stages.label import group_of, labels_id
from tests.matcher_files import files_of
from tests.trained_run import RUN_ID, begin, plant_checkpoint

pytest.importorskip("torch")

NAME, PINNED = f"run:{RUN_ID}", f"run:{RUN_ID}@40"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Settings of xfeat_lighterglue with small files of weights."""
    return files_of("xfeat_lighterglue", tmp_path_factory.mktemp("weights"), None).settings


@pytest.fixture
def store(tmp_path, files):
    """A store with a finished run of those weights."""
    opened = FileStore(tmp_path / "store")
    begin(opened)
    stated = {"xfeat_weights": files["xfeat_weights"], "max_keypoints": 64}
    plant_checkpoint(opened, 40, Path(files["weights"]), settings=stated)
    return opened


@pytest.fixture
def settings(store, tmp_path):
    return Settings.load([f"store={store.root}", f"weights.cache={tmp_path / 'cache'}"], environ={})


def loaded(settings, name=NAME):
    found, pinned = with_run(settings, name)
    return load_matchers(replace(found, matchers=(pinned,)))[0]


def cached(settings):
    return next(Path(settings.weights.cache).rglob("*.ckpt"))


def test_a_run_is_the_matcher_of_its_weights_under_a_name_of_its_own(settings, files):
    found, pinned = with_run(settings, NAME)
    assert pinned == PINNED
    (matcher,) = load_matchers(replace(found, matchers=(pinned,)))
    plain = load_matcher("xfeat_lighterglue", files | {"max_keypoints": 64})
    assert (matcher.name, plain.name) == (f"run-{RUN_ID}=40", "xfeat_lighterglue")
    assert isinstance(matcher, type(plain))
    assert matcher.files["weights"].sha256 == plain.files["weights"].sha256
    assert matcher.extractor_id == plain.extractor_id
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    shifted = np.roll(image, 8, axis=1)
    np.testing.assert_array_equal(matcher.match(image, shifted).points, plain.match(image, shifted).points)
    assert labels_id(matcher, PairingConfig()).startswith(f"run-{RUN_ID}=40-")


def test_labels_say_the_licence_of_the_run(settings):
    teacher = loaded(settings).teacher
    (own,) = [item for item in teacher.weights if item.name == f"{RUN_ID}-00000040.ckpt"]
    assert (own.licence, teacher.matcher) == ("CC-BY-4.0", f"run-{RUN_ID}=40")


def test_other_weights_make_other_label_ids(settings, store, files):
    first = labels_id(loaded(settings), PairingConfig())
    changed = Path(files["weights"]).read_bytes() + b" "
    plant_checkpoint(store, 40, changed, settings={"xfeat_weights": files["xfeat_weights"]})
    assert labels_id(loaded(settings), PairingConfig()) != first


def test_settings_are_the_matchers_then_the_checkpoints_then_the_runs(settings):
    own = {
        "xfeat_lighterglue": {"weights": "xfeat_lighterglue", "filter_threshold": 0.3, "max_keypoints": 9},
        NAME: {"max_side_px": 300},
        PINNED: {"detection_threshold": 0.5},
    }
    config = loaded(replace(settings, matcher=own)).config
    assert (config.filter_threshold, config.max_keypoints, config.max_side_px, config.detection_threshold) == (
        0.3, 64, 300, 0.5,
    )  # fmt: skip
    assert config.weights == str(cached(settings))
    stronger = loaded(replace(settings, matcher={NAME: {"max_keypoints": 32}}))
    assert stronger.config.max_keypoints == 32


def test_weights_that_are_set_for_the_matcher_are_none_of_its_runs(settings, store):
    plant_checkpoint(store, 40, b"PK\x03\x04 weights")  # which may embed its extractor
    found, _ = with_run(replace(settings, matcher={"xfeat_lighterglue": {"xfeat_weights": "mine.pt"}}), NAME)
    assert set(found.matcher[PINNED]) == {"matcher", "weights"}


def test_a_setting_of_a_run_can_be_given_on_the_command_line(settings):
    changed = Settings.load(
        [f"store={settings.store}", f"weights.cache={settings.weights.cache}", f"matcher.{PINNED}.max_keypoints=32"],
        environ={},
    )
    assert loaded(changed).config.max_keypoints == 32


def test_what_was_looked_up_is_not_looked_up_again(settings, store, tmp_path):
    found = with_runs(replace(settings, matchers=(NAME, "rootsift"), required_matchers=(NAME,)))
    assert (found.matchers, found.required_matchers) == ((PINNED, "rootsift"), (PINNED,))
    plant_checkpoint(store, 60, b"PK\x03\x04 newer", score=1.0)
    away = replace(found, store=str(tmp_path / "gone"))
    assert with_runs(away) == away
    assert [matcher.name for matcher in load_matchers(away)] == [f"run-{RUN_ID}=40", "rootsift"]
    assert str(cached(settings)) in weight_names(away)
    assert guide_name(away) == "rootsift"
    assert guide_name(replace(away, matchers=(PINNED,))) == PINNED


def test_a_propagator_looks_for_a_run_only_where_its_features_guide(settings, tmp_path):
    assert _guide(replace(settings, matchers=(PINNED,))).name == f"run-{RUN_ID}=40"
    away = replace(settings, store=str(tmp_path / "gone"), matchers=(PINNED, "rootsift"))
    assert _guide(away).name == "rootsift"
    with pytest.raises(GimError, match="no store here"):
        _guide(replace(away, matchers=(PINNED,)))


def test_two_names_for_one_checkpoint_are_one_matcher_too_many(settings):
    with pytest.raises(ConfigError, match="nothing twice"):
        with_runs(replace(settings, matchers=(NAME, PINNED)))


def test_the_cache_is_used_again_and_mended_where_it_was_changed(settings, store):
    loaded(settings)
    path = cached(settings)
    before, key = path.read_bytes(), keys.checkpoint_weights(RUN_ID, 40, f"xfeat_lighterglue-{RUN_ID}.ckpt")
    data = store.get(key)
    store.delete(key)
    assert loaded(settings).files["weights"].path == str(path)  # without the store's
    path.write_bytes(before[:-1])
    with pytest.raises(CorruptObject, match=f"{key}: is not in the store, though its manifest names it"):
        loaded(settings)
    store.put(key, data)
    loaded(settings)
    assert path.read_bytes() == before
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name, f"{path.name}.licence"]


def test_weights_that_are_not_those_of_the_manifest_are_refused(settings, store):
    key = keys.checkpoint_weights(RUN_ID, 40, f"xfeat_lighterglue-{RUN_ID}.ckpt")
    store.put(key, store.get(key) + b"!")
    with pytest.raises(CorruptObject, match=f"checkpoint {key} has changed"):
        with_run(settings, NAME)
    assert not list(Path(settings.weights.cache).rglob("*.ckpt"))


def test_a_run_of_restricted_terms_is_refused_where_only_permissive_weights_may_be_used(settings, store, files):
    only = replace(settings, weights=replace(settings.weights, licences="permissive"))
    xfeat = Path(files["xfeat_weights"])
    xfeat.with_name(f"{xfeat.name}.licence").write_text("Apache-2.0")
    loaded(only)
    plant_checkpoint(
        store, 40, Path(files["weights"]), licence="unknown (3 videos)", settings={"xfeat_weights": str(xfeat)}
    )
    with pytest.raises(LicenceRefused, match=r"their licence is 'unknown \(3 videos\)'"):
        loaded(only)


def test_a_file_that_the_run_was_trained_with_is_held_to_what_it_was(settings, store, files, tmp_path):
    extractor = tmp_path / "xfeat.pt"
    extractor.write_bytes(Path(files["xfeat_weights"]).read_bytes())
    seen = UsedWeights("features", extractor.name, hashlib.sha256(extractor.read_bytes()).hexdigest(), "Apache-2.0")
    stated = {"xfeat_weights": str(extractor)}
    plant_checkpoint(store, 40, Path(files["weights"]), settings=stated, others=[seen])
    assert loaded(settings).files["xfeat_weights"].sha256 == seen.sha256
    extractor.write_bytes(extractor.read_bytes() + b" ")
    way_out = f"say where on this machine by --set matcher.run:{RUN_ID}.xfeat_weights=FILE"
    with pytest.raises(InvalidInput, match=f"{extractor} is not the file that it was trained with, .*: {way_out}"):
        with_run(settings, NAME)
    extractor.unlink()
    with pytest.raises(ConfigError, match=f"needs the file that it was trained with, {extractor}: {way_out}"):
        with_run(settings, NAME)
    elsewhere = replace(settings, matcher={NAME: {"xfeat_weights": files["xfeat_weights"]}})
    assert loaded(elsewhere).files["xfeat_weights"].path == files["xfeat_weights"]


def test_a_matcher_without_weights_cannot_be_a_runs(settings, store):
    plant_checkpoint(store, 40, b"w", matcher="rootsift")
    with pytest.raises(InvalidInput, match=f"{NAME}: matcher rootsift has no weights to load"):
        with_run(settings, NAME)


def test_a_run_that_nobody_looked_up_is_told(settings):
    for function in (described_class, matcher_class, matcher_status):
        with pytest.raises(UnknownMatcher, match="its run was not looked up"):
            function(NAME)


def test_other_matchers_cost_no_look_into_a_store():
    settings = Settings.load(["store=/nowhere"], environ={})
    assert with_run(settings, "rootsift") == (settings, "rootsift")
    assert with_runs(settings) is settings


def test_a_service_needs_one_checkpoint(settings):
    with pytest.raises(ConfigError, match=f"{NAME}@STEP"):
        check_pinned(replace(settings, matchers=("rootsift", NAME)))
    check_pinned(replace(settings, matchers=("rootsift", PINNED)))
    assert group_of(PINNED) == group_of(f"run-{RUN_ID}=40") == f"label-run-{RUN_ID}=40"
    assert keys.deployed_matcher(PINNED) == f"matchers/run-{RUN_ID}=40.json"


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(1)
    noise = np.repeat(np.repeat(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), 5, 0), 5, 1)
    for name, image in (("0.png", noise), ("1.png", np.roll(noise, 10, axis=1))):
        (tmp_path / name).write_bytes(codecs.encode_png(image))
    return str(tmp_path / "0.png"), str(tmp_path / "1.png")


@pytest.fixture
def places(settings):
    return ["--store", settings.store, "--set", f"weights.cache={settings.weights.cache}"]


def test_match_takes_a_run(images, places, capsys):
    assert run_command(["match", *images, "--matcher", NAME, *places, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["matcher"] == f"run-{RUN_ID}=40"
    assert run_command(["match", *images, "--matcher", "run:tiny-0a1b2c3e", *places]) == 2
    assert f"did you mean {RUN_ID}?" in capsys.readouterr().err


def test_a_store_that_is_away_is_told_in_one_line(images, tmp_path, capsys):
    assert run_command(["match", *images, "--matcher", NAME, "--store", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "no store here" in error
    assert "\n" not in error


def test_runs_are_listed_with_the_matcher_that_each_is(places, store, capsys):
    begin(store, "tiny-11111111")
    assert run_command(["ls", "runs", *places[:2], "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
    assert rows[RUN_ID]["matcher"] == PINNED
    assert (rows[RUN_ID]["last"], rows[RUN_ID]["steps"], rows[RUN_ID]["best"]) == (40, 40, None)
    assert (rows["tiny-11111111"]["matcher"], rows["tiny-11111111"]["checkpoints"]) == ("", [])
    assert run_command(["ls", "runs", *places[:2]]) == 0
    table = capsys.readouterr().out
    assert PINNED in table
    assert "not finished" in table


def test_doctor_says_whether_a_run_can_be_used(settings, monkeypatch):
    monkeypatch.setattr("gim.matchers.registry.matcher_names", lambda: ["xfeat_lighterglue"])  # to be quick
    found = _matchers(replace(settings, matchers=(NAME, "run:unknown-00000000")))
    assert found[NAME] == ""
    assert "no run 'unknown-00000000'" in found["run:unknown-00000000"]


def test_looking_a_run_up_loads_no_torch(places):
    code = (
        "import sys\nfrom gim.runtime.trained import with_run\nfrom gim.settings import Settings\n"
        f"_, name = with_run(Settings.load(['store={places[1]}', {places[3]!r}], environ={{}}), {NAME!r})\n"
        "print(name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{PINNED} False\n"
