"""Weights in training are judged as a checkpoint of theirs would be."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import choose_benchmarks, put_benchmark
from gim.errors import ConfigError
from gim.evaluation.pose_scorer import Column, pose_scorer
from gim.evaluation.protocols import protocol_named
from gim.evaluation.scores import auc_percent
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.runtime.training_judge import TrainingJudge
from gim.training.models.xfeat_lighterglue import build
from gim.weights.checkpoint import read_checkpoint
from tests.posed_scene import write_scene


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    put_benchmark(opened, "room", write_scene(tmp_path / "room", num_pairs=3))
    yield opened
    opened.close()


def test_a_benchmark_that_is_not_there_is_told_at_once(store: FileStore) -> None:
    with pytest.raises(ConfigError, match="rom"):
        TrainingJudge(store, ["rom"], ModelResources())


@pytest.mark.shared
def test_published_weights_score_as_their_matcher_does(store: FileStore, shared_data: Path) -> None:
    folder = shared_data / "weights/permissive"
    extractor, weights = str(folder / "xfeat_folded.pt"), str(folder / "xfeat_lighterglue_L3.pt")
    model = build({"layers": 3, "extractor_weights": extractor})
    model.load_published(read_checkpoint(weights), "LighterGlue")
    found = TrainingJudge(store, ["room"], ModelResources())(model, model.published(model.state_dict()))

    (benchmark,) = choose_benchmarks(store, ["room"])
    matcher = load_matcher("xfeat_lighterglue", {"xfeat_weights": extractor, "weights": weights})
    pairs = benchmark.pairs()
    scorer = pose_scorer(pairs, protocol_named("strict"))
    rows = [
        scorer.score(place, matcher.match(benchmark.image(pair.image0), benchmark.image(pair.image1)).points)
        for place, pair in enumerate(pairs)
    ]
    errors = np.max(np.stack(rows)[..., [Column.ROTATION_DEG, Column.TRANSLATION_DEG]], axis=-1)
    by_seed = [auc_percent(list(seed)) for seed in errors.T]
    assert found["auc/room/5"] > 20
    for degrees in ("5", "10", "20"):
        assert found[f"auc/room/{degrees}"] == pytest.approx(np.mean([auc[degrees] for auc in by_seed]), abs=1e-6)
