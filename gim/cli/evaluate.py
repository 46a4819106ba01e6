"""`gim evaluate`: how right a matcher is on pairs of known cameras."""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import ConfigOption, DeviceOption, JsonOption, SetOption, StoreOption, load_settings
from gim.cli._terminal import print_rows

if TYPE_CHECKING:
    from gim.evaluation.pose_auc import PoseProtocol
    from gim.evaluation.predictions import PoseScores

_MatcherOption = Annotated[str, typer.Option("--matcher", help="See `gim ls matchers`.", metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add `gim evaluate` and its commands."""
    evaluate = typer.Typer(help="Relative pose on pairs of known cameras.", no_args_is_help=True)
    evaluate.command("pairs")(evaluate_pairs)
    evaluate.command("checkpoint")(evaluate_checkpoint)
    app.add_typer(evaluate, name="evaluate")


def evaluate_pairs(
    pairs_file: Annotated[
        Path, typer.Argument(metavar="PAIRS.TXT", help="image0 image1 K0 K1 T_0to1 overlap, one pair per line.")
    ],
    *,
    matcher: _MatcherOption = "rootsift",
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on a list of posed pairs beside their images. Needs no store and leaves nothing."""
    from gim import codecs
    from gim.benchmarks.posed import read_posed_pairs
    from gim.cli._fetching import fetch_weights
    from gim.errors import InvalidInput
    from gim.evaluation.pose_auc import PROTOCOL
    from gim.evaluation.predictions import match_all, score_pair, summarise
    from gim.matchers.network import ModelResources
    from gim.matchers.registry import load_matcher, weight_names
    from gim.records import Uint8Array
    from gim.runtime.threads import one_thread_each

    def read_image(name: str) -> Uint8Array:
        try:
            return codecs.decode_image((pairs_file.parent / name).read_bytes())
        except OSError as error:
            raise InvalidInput(f"{pairs_file.parent / name}: {error.strerror}") from error

    settings = load_settings(sets, config, inference__device=device)
    pairs = read_posed_pairs(pairs_file)
    own = settings.matcher.get(matcher)
    fetch_weights(weight_names(matcher, own), settings.weights, plain_lines=not as_json)
    loaded = load_matcher(matcher, own, ModelResources(settings.inference, settings.weights))
    started = time.monotonic()
    with one_thread_each(), ThreadPoolExecutor(_num_threads(settings.run.threads)) as executor:
        scores = summarise([score_pair(*found) for found in match_all(loaded, pairs, read_image, executor)])
    _print_scores([(pairs_file.parent.name, scores)], matcher, PROTOCOL, time.monotonic() - started, as_json=as_json)


def evaluate_checkpoint(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="Names the reports.")],
    step: Annotated[int, typer.Argument(metavar="STEP", min=0)],
    *,
    matcher: _MatcherOption = "rootsift",
    checkpoint: Annotated[
        str, typer.Option(metavar="KEY", help="Of the weights in the store.  [default: the matcher's own weights]")
    ] = "",
    benchmark: Annotated[
        list[str] | None, typer.Option(metavar="NAME_OR_ID", help="Repeatable; all of the store by default.")
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a checkpoint on the benchmarks of the store and keep the reports, as the evaluator service does."""
    from gim import codecs
    from gim.matchers.network import ModelResources
    from gim.ports.telemetry import NullTelemetry
    from gim.runtime.opening import open_store
    from gim.runtime.threads import one_thread_each
    from gim.stages.evaluate import EvaluateStage, EvaluationReport
    from gim.wire.v1.events_pb2 import CheckpointReady

    settings = load_settings(sets, config, store=store, inference__device=device)
    ready = CheckpointReady(run_id=run_id, step=step, matcher=matcher, checkpoint=checkpoint)
    started = time.monotonic()
    with closing(open_store(settings)) as opened, one_thread_each():
        with ThreadPoolExecutor(_num_threads(settings.run.threads)) as executor:
            stage = EvaluateStage(
                opened,
                matcher_settings=settings.matcher,
                resources=ModelResources(settings.inference, settings.weights),
                benchmarks=benchmark or settings.evaluation.benchmarks,
                executor=executor,
                telemetry=NullTelemetry(),
            )
            keys = [event.report for _, event in stage.handle(ready)]  # type: ignore[attr-defined]
        reports = [codecs.from_json(EvaluationReport, opened.get(key)) for key in keys]
    rows = [(report.benchmark, report.scores) for report in reports]
    _print_scores(rows, matcher, reports[0].protocol, time.monotonic() - started, as_json=as_json)


def _num_threads(wanted: int) -> int:
    return wanted or os.cpu_count() or 1


def _print_scores(
    rows: "Sequence[tuple[str, PoseScores]]", matcher: str, protocol: "PoseProtocol", seconds: float, *, as_json: bool
) -> None:
    """One object with `--json` where there is one list of pairs, else one per benchmark below `benchmarks`."""
    found = [
        {
            "auc": scores.auc,
            "pairs": scores.num_pairs,
            "failures": scores.num_failures,
            "matches": scores.median_matches,
        }
        for _, scores in rows
    ]
    facts = {"matcher": matcher, "protocol": asdict(protocol), "seconds": round(seconds, 3)}
    if as_json and len(rows) == 1:
        print(json.dumps({"benchmark": rows[0][0], **found[0], **facts}))
    elif as_json:
        named = {name: scores for (name, _), scores in zip(rows, found, strict=True)}
        print(json.dumps({"benchmarks": named, **facts}))
    else:
        print_rows(
            [
                {
                    "benchmark": name,
                    "pairs": scores.num_pairs,
                    "failures": scores.num_failures,
                    "matches": f"{scores.median_matches:g}",
                    **{f"@{bound:g}": f"{scores.auc[f'{bound:g}']:.1f}" for bound in protocol.thresholds_deg},
                }
                for name, scores in rows
            ]
        )
        print(f"AUC in percent of the pose error in degrees; protocol {protocol.name}, revision {protocol.revision}")
