"""`gim evaluate`: how right a matcher is on benchmarks of every kind, reports over what was found, and its checks."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli import _evaluate_1500, _evaluate_localisation, _evaluate_planes, _evaluate_report, _evaluate_zeb
from gim.cli._evaluation import (
    KeptStoreOption,
    ProtocolOption,
    ShardOption,
    WorkersOption,
    judge,
    print_json,
    print_pose_scores,
    protocol_facts,
    say_shard,
    score_facts,
)
from gim.cli._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    MatcherOption,
    SetOption,
    StoreOption,
    load_settings,
)

if TYPE_CHECKING:
    from gim.ports.store import Store

_DEFAULT = "rootsift"
_GROUPS = (
    _evaluate_zeb,
    _evaluate_1500,
    _evaluate_planes,
    _evaluate_localisation,
    _evaluate_report,
)  # each adds its commands


def register(app: typer.Typer) -> None:
    """Add `gim evaluate` and its commands."""
    evaluate = typer.Typer(help="How right a matcher is: poses, planes, localisation.", no_args_is_help=True)
    evaluate.command("pairs")(evaluate_pairs)
    evaluate.command("checkpoint")(evaluate_checkpoint)
    for group in _GROUPS:
        group.add_commands(evaluate)
    app.add_typer(evaluate, name="evaluate")


def evaluate_pairs(
    pairs_file: Annotated[
        Path, typer.Argument(metavar="PAIRS.TXT", help="image0 image1 K0 K1 T_0to1 overlap, one pair per line.")
    ],
    *,
    matcher: MatcherOption = "rootsift",
    protocol: ProtocolOption = "strict",
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    store: KeptStoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on a list of posed pairs beside their images. Leaves nothing without `--store`."""
    import numpy as np

    from gim.benchmarks.posed import read_posed_pairs
    from gim.evaluation.pose_scorer import Column, pose_scorer, posed_results
    from gim.evaluation.protocols import protocol_named
    from gim.evaluation.scores import score_results
    from gim.evaluation.views import folder_views
    from gim.runtime.trained import with_run

    started = time.monotonic()
    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    chosen = protocol_named(protocol)
    name, pairs = pairs_file.absolute().parent.name, read_posed_pairs(pairs_file)
    names = [(pair.image0, pair.image1) for pair in pairs]
    # A folder's name may hold what no key can.
    views = folder_views("pairs", pairs_file.parent, names, chosen.size_rule)
    with judge(settings, matcher, workers=workers, shard=shard, is_kept=store is not None, quiet=as_json) as judged:
        rows = judged.rows(name, views, pose_scorer(pairs, chosen, views))
    if rows is None:
        say_shard(shard, as_json=as_json)
        return
    score = score_results(name, posed_results(pairs, rows))
    median_matches = float(np.median(rows[:, 0, Column.NUM_MATCHES]))
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        facts = {"matcher": matcher, "protocol": protocol_facts(chosen), "seconds": seconds}
        print_json({"benchmark": name, **score_facts(score, median_matches), **facts})
    else:
        print_pose_scores([(name, score, median_matches)], [f"{matcher}, protocol {chosen.id}, {seconds:.1f} s"])


def evaluate_checkpoint(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="Names the reports.")],
    step: Annotated[int, typer.Argument(metavar="STEP", min=0)],
    *,
    matcher: Annotated[
        str | None, typer.Option(metavar="NAME", help="See `gim ls matchers`.", show_default="the run's, or rootsift")
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(metavar="KEY", help="Of the weights in the store.  [default: the run's, or the matcher's own]"),
    ] = "",
    benchmark: Annotated[
        list[str] | None, typer.Option(metavar="NAME_OR_ID", help="Repeatable; all of the store by default.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="gim, glue-factory or strict.", metavar="NAME", show_default="evaluation.protocol"),
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a checkpoint on the benchmarks of the store and keep the reports, as the evaluator service does."""
    from gim import codecs
    from gim.evaluation.protocols import protocol_named
    from gim.matchers.network import ModelResources
    from gim.ports.telemetry import NullTelemetry
    from gim.runtime.opening import open_store
    from gim.runtime.threads import one_thread_each
    from gim.stages.evaluate import EvaluateStage, EvaluationReport
    from gim.wire.v1.events_pb2 import CheckpointReady

    settings = load_settings(sets, config, store=store, inference__device=device)
    started = time.monotonic()
    with closing(open_store(settings)) as opened, one_thread_each():
        if matcher is None:
            matcher, checkpoint = _stored(opened, run_id, step, checkpoint)
        ready = CheckpointReady(run_id=run_id, step=step, matcher=matcher, checkpoint=checkpoint)
        with ThreadPoolExecutor(settings.run.threads or os.cpu_count() or 1) as executor:
            stage = EvaluateStage(
                opened,
                matcher_settings=settings.matcher,
                resources=ModelResources(settings.inference, settings.weights),
                benchmarks=benchmark or settings.evaluation.benchmarks,
                executor=executor,
                telemetry=NullTelemetry(),
                protocol=protocol_named(protocol or settings.evaluation.protocol),
            )
            keys = [event.report for _, event in stage.handle(ready)]  # type: ignore[attr-defined]
        reports = [codecs.from_json(EvaluationReport, opened.get(key)) for key in keys]
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        found = {report.benchmark: score_facts(report.score, report.median_matches) for report in reports}
        facts = {"matcher": matcher, "protocol": protocol_facts(reports[0].protocol), "seconds": seconds}
        only = next(iter(found.items())) if len(found) == 1 else None
        print_json({"benchmark": only[0], **only[1], **facts} if only else {"benchmarks": found, **facts})
    else:
        rows = [(report.benchmark, report.score, report.median_matches) for report in reports]
        print_pose_scores(rows, [f"{matcher}, protocol {reports[0].protocol.id}, {seconds:.1f} s"])


def _stored(store: "Store", run_id: str, step: int, checkpoint: str) -> tuple[str, str]:
    """The matcher and the weights of a run's checkpoint; where there is none, the default and what was asked for."""
    from gim.errors import KeyMissing
    from gim.training.checkpoints.listing import read_manifest

    try:
        manifest = read_manifest(store, run_id, step)
    except KeyMissing:
        return _DEFAULT, checkpoint
    return manifest.matcher, checkpoint or next((file.key for file in manifest.files), "")
