"""Architectures by name."""

import pytest

from gim.errors import ConfigError
from gim.matchers.registry import matcher_names
from gim.training.models.base import Trainable
from gim.training.models.registry import architecture_names, build_trainable
from gim.weights.config import WeightsConfig

NAMES = architecture_names()
_SMALL = {"lightglue": {"layers": 1}, "xfeat_lighterglue": {"layers": 1, "width": 32}}


def test_the_architectures_of_the_issue_are_there():
    assert NAMES == ["dkm", "gim_loftr", "lightglue", "loftr", "roma", "superglue", "xfeat_lighterglue"]


@pytest.mark.parametrize("name", ["lightglue", "superglue", "xfeat_lighterglue"])
def test_a_file_builds_what_its_name_says(name):
    model = build_trainable(name, _SMALL.get(name, {}), WeightsConfig())
    assert isinstance(model, Trainable)
    assert model.architecture == name
    assert model.matcher in matcher_names()
    assert sum(len(group) for group in model.groups().values()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_an_architecture_does_not_have_is_named(name):
    with pytest.raises(ConfigError, match="layerz"):
        build_trainable(name, {"layerz": 3}, WeightsConfig())


@pytest.mark.parametrize("name", ["loftre", "base", "registry", "_assignment_loss", "../run", ""])
def test_no_such_architecture(name):
    with pytest.raises(ConfigError, match=r"^train.architecture = .*one of dkm, "):
        build_trainable(name, {}, WeightsConfig())
