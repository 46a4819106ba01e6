"""What a run does beside its steps."""

from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import pytest
import torch

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import Unavailable
from gim.ports.telemetry import NullTelemetry
from gim.records import CheckpointManifest
from gim.training.checkpoints.listing import stored_scores, stored_steps
from gim.training.checkpoints.reading import load
from gim.training.checkpoints.saver import CheckpointSaver
from gim.training.config import KeepConfig, LoopConfig, OptimiserConfig, TrainingConfig
from gim.training.distributed import Ranks
from gim.training.ema import WeightAverage
from gim.training.hooks import RunHooks
from gim.training.journal import Journal, read_points
from gim.training.optimiser import build_optimiser
from gim.training.step import StepResult
from gim.training.window import Sum, Window
from gim.weights.checkpoint import read_checkpoint
from tests.unit.training.toy import Rows, Toy, ToyMicroBatch, ToyStream

CONFIG = TrainingConfig(
    architecture="toy",
    loop=LoopConfig(batch_size=2, canonical_batch=2),
    keep=KeepConfig(keep_last=9, log_every_pairs=2),
)


class Reader:
    """Stands at a place."""

    def state(self):
        return {"orders": {"video": "0"}, "lanes": {"0": {"step": 7, "positions": {"video": 14}}}}


@contextmanager
def three_batches():
    yield iter(ToyStream())


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def hooks_of(store, *, saver=None, average=None, ranks=None, judge=None, held_out=None, model=None):
    said = []
    model = model or Toy()
    journal = Journal(store, "run-1", telemetry=NullTelemetry())
    hooks = RunHooks(
        run_id="run-1",
        config=CONFIG,
        store=store,
        ranks=ranks or Ranks(),
        model=model,
        optimiser=build_optimiser(model.groups(), OptimiserConfig(), architecture="toy"),
        reader=Reader(),
        journal=journal if not ranks or ranks.is_first else None,
        saver=saver,
        average=WeightAverage(model, average) if average else None,
        held_out=held_out,
        num_held_out=3 if held_out else 0,
        judge=judge,
        draw_pairs=None,
        is_told_to_stop=lambda: False,
        say=said.append,
    )
    return hooks, said


def saver_of(store):
    return CheckpointSaver(store, CheckpointManifest("run-1", 0, "none", []), keep_last=9, keep_best=1)


def result(*, is_good=True, bad=(), seen=()):
    return StepResult({"loss": Sum(1.0, 1)}, 1.0, is_good, bad, seen, 1, 0.0)


def after(hooks, step, **options):
    hooks.after_step(step, result(**options), seconds=1.0, rate=0.1)


def test_what_is_published_and_validated_is_the_average(store):
    hooks, _ = hooks_of(store, average=0.5, held_out=three_batches)
    before = hooks.published()["weights"].clone()
    with torch.no_grad():
        hooks.model.weights += 2.0
    after(hooks, 1)
    assert torch.equal(hooks.published()["weights"], before + 1.0)
    own = hooks.model.weights.detach().clone()
    hooks.validate(1)
    assert torch.equal(hooks.model.weights, own)  # trained on as they were
    (point,) = [point for point in read(hooks, store) if "validation/loss" in point.values]
    averaged = Toy()
    averaged.load_state_dict(hooks.published())
    losses = [averaged(item.batch).total.item() for item in islice(ToyStream(), 3)]
    assert point.values["validation/loss"] == pytest.approx(sum(losses) / 3)


def read(hooks, store):
    hooks.journal.flush(1)
    return list(read_points(store, "run-1"))


def test_a_bad_step_is_not_averaged_but_counted_told_and_dumped(store):
    hooks, said = hooks_of(store, average=0.5)
    before = hooks.published()["weights"].clone()
    with torch.no_grad():
        hooks.model.weights += 2.0
    bad = ToyMicroBatch(Rows(torch.full((1, 4), float("nan"))), names=("film/1_2",))
    after(hooks, 3, is_good=False, bad=(bad,), seen=(bad, bad))
    assert torch.equal(hooks.published()["weights"], before)
    assert (hooks.num_bad, hooks.last_step) == (1, 3)
    assert said == ["step 3: the gradient is no number, nothing was changed (1 such steps so far)"]
    with store.fetch(keys.training_dump("run-1", 3, 0)) as path:
        (dumped,) = torch.load(path, weights_only=True)
    assert (dumped["part"], dumped["names"]) == ("video", ("film/1_2",))
    assert dumped["batch"]["values"].isnan().all()


def test_a_dump_that_finds_no_room_is_told_and_the_run_goes_on(store):
    class Full(FileStore):
        def put(self, key, data):
            raise Unavailable("the disk is full")

    hooks, said = hooks_of(Full(store.root))
    after(hooks, 3, is_good=False, seen=(ToyMicroBatch(Rows(torch.zeros(1, 4))),))
    assert said[1:] == ["step 3: its pairs could not be dumped (the disk is full)"]


def test_a_checkpoint_holds_all_that_the_run_goes_on_from(store):
    with saver_of(store) as saver:
        hooks, said = hooks_of(store, saver=saver, average=0.5)
        saved = []
        hooks.on_saved = saved.append
        after(hooks, 1)
        hooks.save(1, is_last=False)
        after(hooks, 2)
        hooks.save(2, is_last=True)
    assert (stored_steps(store, "run-1"), saved, said) == ([1, 2], [1, 2], [])
    loaded = load(store, "run-1", 2)
    assert set(loaded.state) == {"step", "model", "optimiser", "average", "reader"}
    assert (loaded.state["step"], loaded.state["reader"]) == (2, Reader().state())
    (file,) = loaded.manifest.files
    assert file.key.endswith("/weights/toy-run-1.ckpt")
    assert file.setting == "weights"
    with store.fetch(file.key) as path:
        assert torch.equal(read_checkpoint(path)["weights"], torch.arange(4.0))
    assert [point.step for point in read_points(store, "run-1")] == [1, 2]


@pytest.mark.parametrize(
    ("judged", "score"),
    [
        ({"auc/a/5": 10.0, "auc/b/5": 20.0, "auc/a/20": 90.0}, 15.0),  # the mean of AUC@5
        (None, None),  # the held-out loss's opposite
    ],
)
def test_a_checkpoint_is_scored_by_the_validation_of_its_step(store, judged, score):
    with saver_of(store) as saver:
        judge = (lambda state: judged) if judged else None
        hooks, _ = hooks_of(store, saver=saver, judge=judge, held_out=three_batches)
        for step in (1, 2):
            after(hooks, step)
            if step == 1:
                hooks.validate(step)
            hooks.save(step, is_last=step == 2)
    losses = [Toy()(item.batch).total.item() for item in islice(ToyStream(), 3)]
    assert stored_scores(store, "run-1", [1, 2]) == {1: pytest.approx(score or -sum(losses) / 3)}  # 2 was not judged


def test_a_validation_that_is_no_number_is_no_score_and_ends_nothing(store):
    @contextmanager
    def bad_batches():
        yield iter(ToyStream(bad=frozenset({1})))

    with saver_of(store) as saver:
        hooks, _ = hooks_of(store, saver=saver, held_out=bad_batches)
        after(hooks, 1)
        hooks.validate(1)
        hooks.save(1, is_last=True)
    assert stored_steps(store, "run-1") == [1]


def test_ranks_but_the_first_write_nothing(store):
    class Second(Ranks):
        def gather(self, value):
            return None

        def barrier(self):
            pass

    judged = []
    hooks, said = hooks_of(store, ranks=Second(1, 2), judge=judged.append)
    after(hooks, 1)
    hooks.validate(1)
    hooks.draw(1)
    hooks.save(1, is_last=True)
    assert list(store.list("checkpoints/")) == []
    assert (judged, said) == ([], [])


def test_a_point_is_of_the_steps_since_the_last_one_on_all_ranks(store):
    class First(Ranks):
        def gather(self, value):
            gathered.append(value.num_pairs)
            return [value, Window(value.num_pairs, sums={"loss": Sum(14.0, 2)})]

    gathered = []
    hooks, _ = hooks_of(store, ranks=First(0, 2))
    hooks.config = replace(CONFIG, keep=replace(CONFIG.keep, log_every_pairs=4))
    for step in range(1, 6):
        after(hooks, step)
    assert gathered == [4, 4]
    assert [(point.step, point.pairs, point.values["loss"]) for point in read(hooks, store)] == [(2, 4, 4), (4, 8, 4)]


def test_pictures_are_drawn_with_what_is_published(store):
    hooks, _ = hooks_of(store, average=0.5)
    drawn = []
    hooks.draw_pairs = lambda state, step: drawn.append((step, state["weights"].tolist()))
    hooks.draw(4)
    assert drawn == [(4, [0.0, 1.0, 2.0, 3.0])]
    hooks.draw_pairs = None
    hooks.draw(5)


def test_nobody_is_told_to_stop_unless_somebody_is(store):
    hooks, _ = hooks_of(store)
    assert not hooks.is_stop_wanted()
    assert replace(hooks, is_told_to_stop=lambda: True).is_stop_wanted()
