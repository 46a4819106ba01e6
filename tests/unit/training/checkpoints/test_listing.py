from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim import keys
from gim.adapters.store_file import FileStore
from gim.records import CheckpointScore
from gim.training.checkpoints.listing import (
    clear_leftovers,
    delete_checkpoint,
    latest,
    put_score,
    steps_to_keep,
    stored_scores,
    stored_steps,
)

RUN = "run-1"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def plant(store: FileStore, step: int, *, whole: bool = True) -> None:
    store.put(keys.checkpoint_state(RUN, step, "00000.safetensors"), b"tensors")
    store.put(keys.checkpoint_weights(RUN, step, "toy.ckpt"), b"weights")
    if whole:
        store.put(keys.checkpoint_manifest(RUN, step), b"{}")


def test_a_checkpoint_without_a_manifest_does_not_exist(store):
    assert latest(store, RUN) is None
    plant(store, 10)
    plant(store, 20, whole=False)
    assert (stored_steps(store, RUN), latest(store, RUN), latest(store, "run-2")) == ([10], 10, None)


def test_what_is_left_of_one_is_cleared_away_and_nothing_else(store):
    plant(store, 10)
    plant(store, 20, whole=False)
    others = [f"checkpoints/{RUN}/00000020/xfeat.pt", f"checkpoints/{RUN}/log/20.json", "checkpoints/run-2/a/state/b"]
    for key in others:
        store.put(key, b"not ours")
    before = list(store.list(keys.checkpoint_prefix(RUN, 10)))
    assert clear_leftovers(store, RUN) == [20]
    assert clear_leftovers(store, RUN) == []
    assert sorted(store.list("checkpoints/")) == sorted([*before, *others])


def test_a_checkpoint_goes_manifest_first(store, monkeypatch):
    plant(store, 10)
    gone: list[str] = []
    delete, names = store.delete, store.list
    monkeypatch.setattr(store, "list", lambda prefix="": reversed(list(names(prefix))))  # whatever comes first there
    monkeypatch.setattr(store, "delete", lambda key: (gone.append(key), delete(key)))
    delete_checkpoint(store, RUN, 10)
    assert gone[0] == keys.checkpoint_manifest(RUN, 10)
    assert list(store.list("checkpoints/")) == []
    delete_checkpoint(store, RUN, 10)


def test_scores_are_read_where_there_are_some_and_whole(store):
    for step in (10, 20, 30):
        plant(store, step)
    put_score(store, RUN, CheckpointScore(10, 0.5))
    put_score(store, RUN, CheckpointScore(40, 0.9))  # of one that has gone: it would be a leftover
    store.put(keys.checkpoint_score(RUN, 20), b"{damaged")
    assert stored_scores(store, RUN, [10, 20, 30, 40]) == {10: 0.5}
    assert not store.exists(keys.checkpoint_score(RUN, 40))


@given(
    st.dictionaries(st.integers(0, 30), st.none() | st.integers(-3, 3).map(float), max_size=8),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_the_last_and_the_best_stay(scored, last, best):
    scores = {step: score for step, score in scored.items() if score is not None}
    kept = steps_to_keep(set(scored), scores, last=last, best=best)
    for step in scored:
        num_later = sum(other > step for other in scored)
        better = [other for other in scores if (scores[other], other) > (scores.get(step, 99.0), step)]
        is_best = step in scores and len(better) < best
        assert (step in kept) == (num_later < max(last, 1) or is_best)
