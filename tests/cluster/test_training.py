"""Training on the pairs of the cluster, and what becomes of it without a hand: scores, metrics, panels with both."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gim.benchmarks.stored import put_benchmark
from tests.cluster.bucket import num_results, opened_bucket
from tests.cluster.kube import Kube, named, value_of, wait_for
from tests.cluster.prometheus import Prometheus
from tests.cluster.work import publish, wait_done
from tests.e2e.commands import run_gim
from tests.e2e.undisturbed import Undisturbed
from tests.posed_scene import write_many, write_scene
from tests.unit.dashboards.panels import PanelQuery, panel_queries

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.shared]
JOB = "two-ranks"
STEPS, BATCH = 3000, 4  # some minutes: Prometheus asks four times in one
# The recipe `tiny`, smaller still. Nothing is learnt by it; it has everything that a panel tells of.
SMALLER = {
    "dataset.name": "films",
    "dataset.held_out_share": "0.5",
    "train.model.extractor_weights": "/weights/xfeat_folded.pt",
    "train.features.variants": "1",
    "train.features.max_keypoints": "64",
    "train.sample.width": "160",
    "train.sample.height": "120",
    "train.sample.min_labels": "160",
    "train.sample.max_tries": "2",
    "train.loop.batch_size": "2",
    "train.loop.canonical_batch": str(BATCH),
    "train.schedule.pairs": str(STEPS * BATCH),
    "train.keep.every_pairs": "1000",
    "train.keep.validate_every_pairs": "6000",
    "train.keep.validation_pairs": "4",
    "train.keep.benchmarks": '["kitti"]',
    "train.keep.log_every_pairs": "40",
    "run.threads": "1",
}


@pytest.fixture(scope="module")
def ready_to_train(kube: Kube, clips: Undisturbed, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """Pairs, a benchmark that a published table knows by name, a long one, and the weights of the recipe."""
    if num_results(kube) < len(clips.clips):
        publish(kube, clips)
        wait_done(kube, clips)
    with opened_bucket(kube) as store:
        posed = tmp_path_factory.mktemp("posed")
        put_benchmark(store, "kitti", write_scene(posed / "room", num_pairs=12))
        put_benchmark(store, "hall", write_many(posed / "hall", copies=25))  # longer than Prometheus looks away
    weights = shared_data / "weights" / "permissive" / "xfeat_folded.pt"
    kube.write("deployment/clips", "/weights/xfeat_folded.pt", weights.read_bytes())
    return kube


def rank_events(kube: Kube, index: int, event: str) -> list[dict[str, Any]]:
    """What a rank has logged, by whichever pods it had."""
    selector = f"batch.kubernetes.io/job-name={JOB},batch.kubernetes.io/job-completion-index={index}"
    found = []
    for pod in kube.get("pods", selector=selector):
        lines = kube.run("logs", named(pod), "--tail=-1").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        found += [each for each in told if each["event"] == event]
    return found


def test_two_ranks_find_each_other_and_go_on_when_one_is_lost(ready_to_train: Kube) -> None:
    kube = ready_to_train
    sets = [word for name, value in SMALLER.items() for word in ("--set", f"{name}={value}")]
    asked = ["--recipe", "tiny", "--nodes", "2", "--name", JOB, "--from-cluster", "--volume", "weights:/weights"]
    done = run_gim("train-job", *asked, *sets, "--apply")
    assert done.returncode == 0, done.stderr

    def came(event: str) -> list[int]:
        refused = rank_events(kube, 0, "service_stopped")
        assert not refused, refused
        return [each["step"] for each in rank_events(kube, 0, event)]

    wait_for(lambda: came("progress"), "the first steps", 600)
    (lost,) = [named(pod) for pod in kube.get("pods", selector="batch.kubernetes.io/job-completion-index=1")]
    kube.run("delete", "pod", lost)
    (stopped_at, *_) = wait_for(lambda: came("run_stopped"), "the other rank to stop")
    (went_on_at, *_) = wait_for(lambda: came("run_goes_on"), "both to go on")
    assert 0 < stopped_at == went_on_at < STEPS


@pytest.fixture(scope="module")
def prometheus(ready_to_train: Kube) -> Iterator[Prometheus]:
    with ready_to_train.forwarded("service/prometheus", 9090) as port:
        yield Prometheus(port)


def is_of_an_evaluation(query: PanelQuery) -> bool:
    """Whether it has an answer only while some benchmark is in hand."""
    return "gim_evaluation_pairs" in query.query


def of_board(*names: str) -> pytest.MarkDecorator:
    queries = [query for query in panel_queries() if query.board in names and not is_of_an_evaluation(query)]
    assert queries
    return pytest.mark.parametrize("panel", queries, ids=lambda query: f"{query.board}: {query.panel}")


def assert_answered(prometheus: Prometheus, panel: PanelQuery, seconds: float) -> None:
    """That there is a number, with the labels that the legend names."""
    series = wait_for(lambda: prometheus.series(panel), f"{panel.board}: {panel.panel}", seconds)
    assert all(set(panel.legend_labels) <= set(each["metric"]) for each in series)


@of_board("training")
def test_every_panel_is_answered_while_it_trains(prometheus: Prometheus, panel: PanelQuery) -> None:
    assert_answered(prometheus, panel, 240)


@of_board("overview", "matcher", "storage")
def test_every_panel_is_answered_of_what_has_happened(prometheus: Prometheus, panel: PanelQuery) -> None:
    assert_answered(prometheus, panel, 30)


def test_the_panels_of_an_evaluation_are_answered_as_it_goes_on(ready_to_train: Kube, prometheus: Prometheus) -> None:
    wait_for(lambda: ready_to_train.get("job", JOB)["status"].get("succeeded"), "the end of the training", 600)
    panels = [query for query in panel_queries() if is_of_an_evaluation(query)]
    assert panels
    for panel in panels:
        assert_answered(prometheus, panel, 120)


def test_the_last_checkpoint_is_scored_without_a_hand(ready_to_train: Kube) -> None:
    kube = ready_to_train
    (finished,) = rank_events(kube, 0, "run_finished")
    assert finished["step"] == STEPS
    run = finished["run"]

    def scored() -> bool:
        return value_of(kube.metrics(kube.pod("evaluator")), "gim_zeb_step", run_id=run, dataset="kitti") == STEPS

    wait_for(scored, "the scores of the last checkpoint in an evaluator's metrics")
    with opened_bucket(kube) as store:
        assert f"{STEPS:08d}" in {key.split("/")[2] for key in store.list(f"reports/{run}/")}


@of_board("zeb")
def test_every_panel_is_answered_of_the_scores(prometheus: Prometheus, panel: PanelQuery) -> None:
    assert_answered(prometheus, panel, 60)
