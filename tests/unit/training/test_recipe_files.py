"""Recipes of training: every number of the configuration is known, valid, and has a word on where it comes from."""

import re
import tomllib
from importlib import resources

import pytest

from gim.errors import ConfigError
from gim.settings import Settings
from gim.training.models.registry import architecture_names
from gim.training.recipe_files import ablation_sets, ablations, read_training_recipe, training_recipe_names

NAMES = training_recipe_names()
_NUMBER = re.compile(r"^\s*[\w.]+\s*=\s*[^\s\"#][^#]*$")  # a value that is no text, without a comment


def text_of(recipe):
    return (resources.files("gim.training") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")


def test_the_recipes_of_the_issue_are_there():
    wanted = {"gim_lightglue", "gim_superglue", "gim_loftr", "gim_dkm", "gim_roma", "finetune", "tiny"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("recipe", NAMES)
def test_a_recipe_is_a_valid_configuration_and_says_where_it_comes_from(recipe):
    config = Settings.load([], training_recipe=recipe, environ={}).train
    config.check()
    assert config.recipe == recipe
    assert config.source
    assert config.architecture in architecture_names()
    assert tomllib.loads(text_of(recipe))["name"] == recipe


@pytest.mark.parametrize("recipe", NAMES)
def test_every_number_has_a_word_on_its_source(recipe):
    assert [line for line in text_of(recipe).splitlines() if _NUMBER.match(line)] == []


@pytest.mark.parametrize("name", sorted(ablations()))
def test_an_ablation_changes_settings_that_there_are(name):
    plain = Settings.load([], environ={})
    changed = Settings.load(ablation_sets(name), environ={})
    assert changed != plain


def test_the_ablations_of_table_2_are_there():
    wanted = {"hours_25", "hours_12", "rootsift_labels", "no_augmentation", "no_propagation", "colmap_labels"}
    assert {*wanted, "no_video"} == set(ablations())
    assert ablation_sets("no_video") == ["train.mix.video=0.0"]
    assert ablation_sets("no_propagation") == ["dataset.recipes=base"]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('name = "own"\n[loop]\nseed = 7\n[model]\nlayers = 2\n', encoding="utf-8")
    assert dict(read_training_recipe(str(path))) == {"loop.seed": 7, "model.layers": 2}
    config = Settings.load([], training_recipe=str(path), environ={}).train
    assert (config.loop.seed, config.model, config.recipe) == (7, {"layers": 2}, str(path))


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"loop = [", "not TOML"), (b"\xff", "not TOML")]
)
def test_a_file_that_cannot_be_read(tmp_path, content, words):
    path = tmp_path / "own.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"training recipe {path}: {words}"):
        read_training_recipe(str(path))


def test_a_setting_that_there_is_not_is_named(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("[loop]\nsede = 7\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"loop\.sede"):
        Settings.load([], training_recipe=str(path), environ={})


def test_unknown_names_are_answered_by_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown training recipe 'tini'.*tiny"):
        read_training_recipe("tini")
    with pytest.raises(ConfigError, match=r"unknown ablation 'no_vido'.*no_video"):
        ablation_sets("no_vido")
