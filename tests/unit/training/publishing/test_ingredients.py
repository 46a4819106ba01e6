"""Which weights of others count as part of a run's."""

import hashlib
from pathlib import Path

import pytest

from gim.records import CheckpointManifest, UsedWeights
from gim.training.publishing.ingredients import Ingredients, used_weights
from gim.weights.config import WeightsConfig
from gim.weights.files import find_weights

START = UsedWeights("start", "run:earlier@40", "1" * 64, "CC-BY-4.0")


@pytest.fixture
def config(tmp_path):
    return WeightsConfig(dir=str(tmp_path), cache=str(tmp_path / "cache"), offline=True)


def put(config, name, licence=""):
    """A file that begins as weights do, in the folder of weights."""
    path = Path(config.dir, name)
    path.write_bytes(b"PK\x03\x04" + name.encode())
    if licence:
        path.with_name(f"{name}.licence").write_text(licence)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def template(matcher, **settings):
    return CheckpointManifest("run-1", 0, matcher, [], settings=settings)


def test_the_extractor_is_one_part_though_the_matcher_loads_it_too(config):
    sha256 = put(config, "mine.pt", "MIT")
    made_with = Ingredients(start=START, extractor=find_weights("mine.pt", config))
    found = used_weights(template("xfeat_lighterglue", xfeat_weights="mine.pt"), made_with, config)
    assert found == (START, UsedWeights("features", "mine.pt", sha256, "MIT"))


def test_what_the_matcher_loads_besides_is_a_part(config):
    sha256 = put(config, "dino.pth")
    found = used_weights(template("roma", dinov2_weights="dino.pth"), Ingredients(), config)
    assert found == (UsedWeights("beside", "dino.pth", sha256, "unknown"),)


def test_the_backbone_that_training_began_with_is_a_part(config):
    sha256 = put(config, "resnet.pth", "BSD-3-Clause")
    found = used_weights(template("dkm"), Ingredients(model={"backbone_weights": "resnet.pth"}), config)
    assert found == (UsedWeights("backbone", "resnet.pth", sha256, "BSD-3-Clause"),)


def test_a_matcher_that_is_not_ours_or_needs_nothing_else_adds_nothing(config):
    assert used_weights(template("somebody_elses"), Ingredients(), config) == ()
    assert used_weights(template("gim_loftr"), Ingredients(start=START), config) == (START,)
