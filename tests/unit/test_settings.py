import dataclasses
import pickle
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim import keys
from gim.assignments import flatten, leaves
from gim.errors import ConfigError
from gim.geometry.robust import RobustFitConfig
from gim.settings import Settings, recipe_names


def load(*sets, environ=None, **layers) -> Settings:
    return Settings.load(sets, environ=environ or {}, **layers)


def refusal(*sets, environ=None, **layers) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*sets, environ=environ, **layers)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- layers -----------------------------------------------------------------------------------------------------------


def test_each_layer_is_stronger_than_the_one_below(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[propagation]\nmin_links = 3\nmin_kept = 3\nmin_interval = 3\n")
    environ = {"GIM_PROPAGATION__MIN_KEPT": "4", "GIM_PROPAGATION__MIN_INTERVAL": "4"}
    found = load("propagation.min_interval=5", environ=environ, config_file=file, recipe="upstream").propagation
    assert (found.max_interval, found.min_links, found.min_kept, found.min_interval) == (4000, 3, 4, 5)


def test_the_last_of_two_sets_wins():
    assert load("run.jobs=2", "run.jobs=3").run.jobs == 3


@pytest.mark.parametrize(
    ("sets", "environ", "text", "expected"),
    [
        ([], {}, 'recipe = "paper"', "paper"),
        ([], {"GIM_RECIPE": "upstream"}, 'recipe = "paper"', "upstream"),
        (["recipe=paper"], {"GIM_RECIPE": "upstream"}, "", "paper"),
    ],
)
def test_the_recipe_is_chosen_by_the_strongest_layer_that_names_one(tmp_path, sets, environ, text, expected):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    found = load(*sets, environ=environ, config_file=file)
    assert found.recipe == expected
    assert found.propagation == load(recipe=expected).propagation


def test_a_recipe_given_by_flag_is_stronger_than_every_setting():
    assert load("recipe=paper", recipe="upstream").recipe_record().name == "upstream"


def test_names_without_our_prefix_and_those_of_the_tests_are_not_settings():
    environ = {"PATH": "x", "GIMP2_DIRECTORY": "x", "GIM_DEBUG": "1", "GIM_REQUIRE": "all", "GIM_SHARED": "/x"}
    assert load(environ=environ) == load()


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("store=a b", lambda found: found.store, "a b"),
        ("store=a=b", lambda found: found.store, "a=b"),
        ("matchers=rootsift, other", lambda found: found.matchers, ("rootsift", "other")),
        ("pairing.base_intervals=1,2", lambda found: found.pairing.base_intervals, (1, 2)),
        ("pairing.base_intervals=[1, 3]", lambda found: found.pairing.base_intervals, (1, 3)),
        ("propagation.merge_base_intervals=", lambda found: found.propagation.merge_base_intervals, ()),
        ("overlay.enabled=false", lambda found: found.overlay.enabled, False),
        ("propagation.link=rounded", lambda found: found.propagation.link, "rounded"),
        ("sampling.interval_seconds=1e-1", lambda found: found.sampling.interval_seconds, 0.1),
        ("matcher.rootsift.max_keypoints=4096", lambda found: found.matcher["rootsift"]["max_keypoints"], 4096),
        ("matcher.rootsift.ratio=0.7", lambda found: found.matcher["rootsift"]["ratio"], 0.7),
        ("matcher.x.word=word", lambda found: found.matcher["x"]["word"], "word"),
    ],
)
def test_text_becomes_a_value_of_the_settings_type(text, read, expected):
    assert read(load(text)) == expected


def test_the_environment_reaches_a_matchers_own_settings():
    assert load(environ={"GIM_MATCHER__ROOTSIFT__RATIO": "0.7"}).matcher == {"rootsift": {"ratio": 0.7}}


def test_a_file_reaches_a_matchers_own_settings(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[matcher.rootsift]\nratio = 0.7\n")
    assert load("matcher.rootsift.max_keypoints=9", config_file=file).matcher == {
        "rootsift": {"ratio": 0.7, "max_keypoints": 9}
    }


def test_a_record_that_is_off_is_switched_on_by_one_of_its_fields():
    assert load("propagation.refit.threshold_px=0.5").propagation.refit == RobustFitConfig(threshold_px=0.5)


def test_a_record_that_is_on_is_switched_off_by_none():
    assert load("propagation.final_fit=none", recipe="upstream").propagation.final_fit is None


def test_a_field_changes_only_itself():
    before, after = load(recipe="upstream"), load("propagation.final_fit.threshold_px=2", recipe="upstream")
    assert after.propagation.final_fit == dataclasses.replace(before.propagation.final_fit, threshold_px=2.0)


@given(st.floats(0.01, 1e3), st.integers(1, 1000), st.booleans())
def test_what_is_set_as_text_is_what_is_read(seconds, links, enabled):
    found = load(f"sampling.interval_seconds={seconds}", f"propagation.min_links={links}", f"overlay.enabled={enabled}")
    assert (found.sampling.interval_seconds, found.propagation.min_links, found.overlay.enabled) == (
        seconds,
        links,
        enabled,
    )


def test_a_step_in_frames_replaces_a_step_in_seconds_of_a_weaker_layer():
    assert load("sampling.interval_frames=20").sampling.interval_seconds is None
    seconds = load("sampling.interval_seconds=1", recipe="upstream").sampling
    assert (seconds.interval_frames, seconds.interval_frames_high_fps) == (None, None)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("propagation.min_link=3", ["propagation.min_link", "did you mean propagation.min_links?"]),
        ("min_links=3", ["did you mean propagation.min_links?"]),
        ("propagation.qqqqqqqqqq=3", ["propagation has", "min_links"]),
        ("propagation.guided.windw_px=3", ["did you mean propagation.guided.window_px?"]),
        ("qqq.zzz=3", ["unknown setting 'qqq.zzz'", "gim ls settings"]),
        ("store.x=3", ["unknown setting 'store.x'"]),
        ("run.jobs", ["expected section.field=value"]),
        ("run.jobs=two", ["run.jobs", "'two'", "a whole number"]),
        ("run.jobs=1.5", ["run.jobs", "'1.5'", "a whole number"]),
        ("propagation.link=fuzzy", ["'fuzzy'", "one of mutual, distance, rounded"]),
        ("overlay.enabled=perhaps", ["overlay.enabled", "true or false"]),
        ("pairing.base_intervals=1,x", ["pairing.base_intervals", "a whole number, several joined by commas"]),
        ("propagation=3", ["is a section", "propagation.link=..."]),
        ("propagation.refit=on", ["is a section", "propagation.refit=none"]),
        ("sampling=none", ["is a section"]),
        ("matcher.rootsift=3", ["matcher.rootsift", "table"]),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_with_the_way_out(text, words):
    message = refusal(text)
    assert f"--set {text.partition('=')[0]}" in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("sampling.interval_seconds=0", "above 0"),
        ("sampling.interval_seconds=-1", "above 0"),
        ("sampling.interval_seconds=nan", "above 0"),
        ("sampling.interval_seconds=inf", "above 0"),
        ("sampling.trim_start_seconds=-1", "at least 0"),
        ("sampling.trim_start_seconds=inf", "at least 0"),
        ("run.jobs=0", "above 0"),
        ("pairing.fit.confidence=1.5", "from 0 to 1"),
        ("motion.min_motion_share=-0.1", "from 0 to 1"),
        ("pairing.base_intervals=0,1", "above 0"),
        ("pairing.base_intervals=2,1", "ascending"),
        ("pairing.base_intervals=1,1", "ascending"),
        ("pairing.base_intervals=", "must name something"),
        ("matchers=", "must name something"),
        ("matchers=rootsift,rootsift", "nothing twice"),
        ("required_matchers=roma", "requires roma"),
        ("sampling.interval_seconds=none", "exactly one of"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(text, word):
    message = refusal(text)
    assert word in message
    assert text.partition("=")[0] in message or "exactly one" in message or "requires" in message


def test_a_step_in_seconds_and_in_frames_contradict_each_other():
    assert "exactly one of" in refusal("sampling.interval_seconds=1", "sampling.interval_frames=20")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GIM_PROPAGATION__MIN_LINK", ["GIM_PROPAGATION__MIN_LINK", "did you mean propagation.min_links?"]),
        ("GIM_STOR", ["GIM_STOR", "did you mean store?"]),
        ("GIM_RUN_JOBS", ["GIM_RUN_JOBS", "did you mean run.jobs?"]),
        ("GIM_", ["GIM_"]),
    ],
)
def test_an_unknown_name_in_the_environment_is_refused(name, words):
    message = refusal(environ={name: "3"})
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("content", "word"),
    [("[run]\njobs = 'x'\n", "a whole number"), ("[run", "not TOML"), ("[ran]\njobs = 1\n", "did you mean run.jobs?")],
)
def test_a_settings_file_that_is_wrong_is_named(tmp_path, content, word):
    file = tmp_path / "mine.toml"
    file.write_text(content)
    message = refusal(config_file=file)
    assert "mine.toml" in message
    assert word in message


def test_a_settings_file_that_is_not_there_or_not_text_is_named(tmp_path):
    assert "No such file" in refusal(config_file=tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "not TOML" in refusal(config_file=tmp_path / "binary.toml")
    assert "Is a directory" in refusal(config_file=tmp_path)


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_standard_is_the_default_and_equal_to_the_records_defaults():
    found, plain = load(), Settings()
    assert found == dataclasses.replace(plain, recipe_source=found.recipe_source, train=found.train)


def test_paper_has_the_papers_numbers():
    found = load(recipe="paper")
    propagation = found.propagation
    assert (found.sampling.interval_frames, found.sampling.interval_frames_high_fps) == (20, None)
    assert found.pairing.base_intervals == (1, 2, 4)
    assert found.pairing.fit.estimator == "magsac"
    assert (propagation.link, propagation.link_distance_px, propagation.extend) == ("distance", 1.0, "double")
    assert propagation.merge_base_intervals == (2, 4)
    assert propagation.min_links == 1025
    assert not propagation.guided.enabled
    assert propagation.refit is None
    assert propagation.final_fit is None


def test_upstream_has_the_codes_numbers():
    found = load(recipe="upstream")
    propagation = found.propagation
    assert (found.sampling.interval_frames, found.sampling.interval_frames_high_fps) == (10, 20)
    assert found.pairing.fit == RobustFitConfig("magsac", 0.5, 0.999999, 100_000)
    assert found.pairing.drop_static_points
    assert (propagation.link, propagation.extend) == ("rounded", "greedy")
    assert (propagation.min_links, propagation.min_kept) == (512, 64)
    assert propagation.final_fit == RobustFitConfig("magsac", 1.0, 0.999999, 1_000)
    assert not propagation.guided.enabled
    assert propagation.refit is None


_OURS = ("propagation.guided.", "propagation.refine.")  # switched off there: their numbers are not read


@pytest.mark.parametrize("name", ["paper", "upstream"])
def test_a_recipe_of_others_leaves_no_number_to_our_defaults(name):
    from importlib import resources

    document = tomllib.loads((resources.files("gim") / "recipes" / f"{name}.toml").read_text())
    named = {path for path, _ in flatten(document, Settings)}
    ours = {"pairing.fit.seed", "propagation.final_fit.seed", "propagation.shard_pairs"}
    effective = {path for path, _ in leaves(load(recipe=name)) if path.startswith(("pairing.", "propagation."))}
    assert {path for path in effective - named - ours if not path.startswith(_OURS)} == set()


@pytest.mark.parametrize("name", recipe_names())
def test_every_number_of_a_recipe_says_where_it_comes_from(name):
    from importlib import resources

    text = (resources.files("gim") / "recipes" / f"{name}.toml").read_text()
    document = tomllib.loads(text)
    assert document["name"] == name
    assert document["source"]
    numbers = [line for line in text.splitlines() if "=" in line and not line.startswith(("#", "name", "source"))]
    assert [line for line in numbers if "#" not in line] == []


def test_a_users_recipe_is_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('source = "me"\n[propagation]\nmin_links = 7\n[propagation.refit]\nthreshold_px = 2\n')
    found = load(recipe=str(file))
    record = found.recipe_record()
    assert (record.name, record.source, record.propagation.min_links) == ("mine", "me", 7)
    assert record.propagation.refit == RobustFitConfig(threshold_px=2.0)
    assert record.pairing == Settings().pairing


def test_a_users_recipe_may_have_any_file_name(tmp_path):
    file = tmp_path / ".my recipe, v1.2.toml"
    file.write_text("")
    name = load(recipe=str(file)).recipe_record().name
    assert keys.config_id(name, 1).startswith("-my-recipe--v1-2-")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("[run]\njobs = 2\n", "a recipe has"),
        ("surce = 'x'\n", "a recipe has"),
        ("[propagation]\nmin_link = 3\n", "did you mean propagation.min_links?"),
        ("[propagation]\nmin_links = 'x'\n", "a whole number"),
        ("propagation = 3\n", "is a section"),
    ],
)
def test_a_users_recipe_that_is_wrong_is_named(tmp_path, content, word):
    file = tmp_path / "mine.toml"
    file.write_text(content)
    message = refusal(recipe=str(file))
    assert "mine.toml" in message
    assert word in message


def test_an_unknown_recipe_is_refused_with_those_there_are():
    message = refusal(recipe="papr")
    assert "'papr'" in message
    assert all(name in message for name in ("paper", "standard", "upstream"))


# --- what the settings are for ----------------------------------------------------------------------------------------


def test_video_config_and_recipe_are_the_sections():
    found = load("shots.min_samples=4", "limits.max_streams=2", "pairing.min_matches=20")
    video = found.video_config()
    assert (video.shots.min_samples, video.limits.max_streams, video.sampling) == (4, 2, found.sampling)
    assert found.recipe_record().pairing.min_matches == 20


def test_settings_are_frozen_and_travel_to_other_processes():
    found = load("matcher.rootsift.ratio=0.7")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.store = "x"
    assert pickle.loads(pickle.dumps(found)) == found


def test_every_leaf_is_a_setting_that_can_be_set_to_its_own_value():
    found = load(recipe="upstream")
    for path, value in leaves(found):
        if path in ("recipe", "recipe_source") or isinstance(value, dict):  # a table is set by its entries
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert load(f"{path}={text}", recipe="upstream") == found, path


def test_secrets_are_not_shown():
    shown = load("store=s3://key:pass@host/bucket", "matcher.x.api_token=abc").redacted()
    assert shown["store"] == "s3://***@host/bucket"
    assert "abc" not in str(shown)
    assert "rootsift" in str(shown)
