"""Checkpoints in a bucket of a real S3 server are those of a folder: bit for bit, and damage there is found."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from gim import keys
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.training.checkpoints.listing import stored_scores, stored_steps
from gim.training.checkpoints.reading import resume
from gim.training.checkpoints.saver import CheckpointSaver, NotSaved
from tests.s3_buckets import bucket_on, config_of
from tests.servers import S3Server
from tests.unit.training.checkpoints.toy import TEMPLATE, ToyRun, reference_losses, same

RUN = TEMPLATE.run_id


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[MinioStore]:
    with bucket_on(s3_server) as name, closing(MinioStore(config_of(s3_server), name)) as store:
        yield store


def test_a_run_goes_on_from_a_bucket_as_if_it_had_never_stopped(bucket: MinioStore) -> None:
    with torch.random.fork_rng(devices=[]):
        run, losses = ToyRun(), []
        with CheckpointSaver(bucket, TEMPLATE, keep_last=2, keep_best=1) as saver:
            for step in range(1, 5):
                losses.append(run.train_step())
                saver.save(step, run.state(), run.weights())
                saver.score(step, -float(step))
            state = run.state()
        assert stored_steps(bucket, RUN) == [1, 3, 4]
        assert stored_scores(bucket, RUN, [1, 4]) == {1: -1.0, 4: -4.0}
        loaded = resume(bucket, RUN)
        assert loaded is not None
        assert same(loaded.state, state)
        again = ToyRun()
        again.load(loaded.state)
        losses += [again.train_step() for _ in range(4)]
    assert losses == reference_losses(8)


def test_damage_in_a_bucket_is_passed_over_and_replaced(bucket: MinioStore) -> None:
    with CheckpointSaver(bucket, TEMPLATE) as saver:
        for step in (1, 2):
            saver.save(step, {"weights": torch.full((4,), float(step))})
    key = keys.checkpoint_state(RUN, 2, "00000.safetensors")
    bucket.put(key, b"x" * bucket.size(key))
    loaded = resume(bucket, RUN)
    assert loaded is not None
    assert (loaded.step, loaded.passed_over[0].step) == (1, 2)
    assert key in loaded.passed_over[0].reason
    with CheckpointSaver(bucket, TEMPLATE, resumed_from=1) as saver:
        saver.save(2, {"weights": torch.zeros(4)})
    assert resume(bucket, RUN).step == 2  # type: ignore[union-attr]


def test_a_server_that_is_away_costs_one_checkpoint_and_training_goes_on(
    bucket: MinioStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = S3Config("http://127.0.0.1:9", "us-east-1", "key", "a secret", max_attempts=1)
    with CheckpointSaver(bucket, TEMPLATE) as saver, closing(MinioStore(nowhere, "bucket")) as away:
        monkeypatch.setattr(saver, "_store", away)
        saver.save(1, {"step": 1})
        outcome = saver.wait()
        assert isinstance(outcome, NotSaved)
        assert "127.0.0.1:9" in outcome.reason
        monkeypatch.undo()
        saver.save(2, {"step": 2})
    assert stored_steps(bucket, RUN) == [2]
