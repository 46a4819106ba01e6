"""`gim ls`: what is there, in the store and in the package."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from gim.cli._matchers import list_matchers, print_matchers
from gim.cli._options import ConfigOption, JsonOption, RecipeOption, SetOption, StoreOption, load_settings
from gim.cli._rpc import CaOption, CertOption, KeyOption, ServerOption, served_matchers
from gim.cli._terminal import print_rows
from gim.errors import InvalidInput
from gim.settings import Settings

Row = dict[str, Any]

_MOST_SHOWN = 3  # of the names in one cell
_PROTOCOL_COLUMNS = ("protocol", "solver", "threshold_px", "max_iterations", "is_fixed_length", "seeds", "source")


class Kind(StrEnum):
    """What can be listed."""

    videos = "videos"
    matchers = "matchers"
    segmenters = "segmenters"
    recipes = "recipes"
    protocols = "protocols"
    runs = "runs"
    settings = "settings"


def register(app: typer.Typer) -> None:
    """Add `gim ls`."""
    app.command("ls")(list_things)


def list_things(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.videos,
    *,
    store: StoreOption = None,
    recipe: RecipeOption = None,
    server: ServerOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List videos or runs of a store, matchers, segmenters, recipes, protocols of evaluation, or all settings."""
    tls = {"rpc__ca_file": tls_ca, "rpc__cert_file": tls_cert, "rpc__key_file": tls_key}
    settings = load_settings(sets, config, recipe, store=store, **tls)
    if server and kind is not Kind.matchers:
        raise InvalidInput("--server: a matching server has matchers to list and nothing else")
    rows = served_matchers(server, settings.rpc) if server else _LISTERS[kind](settings)
    if as_json:
        print(json.dumps({kind.value: rows}))
    elif kind is Kind.matchers:
        print_matchers(rows)
    elif kind is Kind.protocols:
        print_rows([{name: row[name] for name in _PROTOCOL_COLUMNS} for row in rows])
    elif kind is Kind.runs:
        print_rows([_run_in_words(row) for row in rows])
    elif kind is Kind.segmenters:
        print_rows([{name: _in_words(value) for name, value in row.items()} for row in rows])
    else:
        print_rows(rows)


def _videos(settings: Settings) -> list[Row]:
    from gim.runtime.listing import list_videos
    from gim.runtime.opening import open_store

    with closing(open_store(settings)) as store:
        return [asdict(video) for video in list_videos(store)]


def _segmenters(_: Settings) -> list[Row]:
    from gim.video.segmenters.registry import segmenter_class, segmenter_names, segmenter_status
    from gim.weights.files import spec_named

    rows = []
    for name in segmenter_names():
        segmenter = segmenter_class(name)
        weights = [spec_named(item) for item in segmenter.published_weights]
        rows.append(
            {
                "segmenter": name,
                "masks": list(segmenter.choose_classes()),
                "weights": list(segmenter.published_weights),
                "licence": segmenter.licence,
                "licence_of_weights": list(dict.fromkeys(item.licence for item in weights)),
                "runs_here": segmenter_status(name) or "yes",
                "classes": list(segmenter.classes),
            }
        )
    return rows


def _in_words(value: str | list[str]) -> str:
    """A cell that may break between names; the many that a segmenter tells apart are counted, the first ones named."""
    if isinstance(value, str):
        return value
    names = ", ".join(value[:_MOST_SHOWN])
    return names if len(value) <= _MOST_SHOWN else f"{len(value)}: {names}, ..."


def _recipes(_: Settings) -> list[Row]:
    from gim.settings import recipe_names
    from gim.training.recipe_files import ablations, training_recipe_names

    loaded = {name: Settings.load(recipe=name, environ={}) for name in recipe_names()}
    rows = [{"recipe": name, "of": "labels", "source": recipe.recipe_source} for name, recipe in loaded.items()]
    for name in training_recipe_names():
        train = Settings.load(training_recipe=name, environ={}).train
        rows.append({"recipe": name, "of": "training", "source": train.source})
    for name, changes in ablations().items():
        changed = ", ".join(f"{path}={value}" for path, value in changes)
        rows.append({"recipe": name, "of": "ablation", "source": changed})
    return rows


def _protocols(_: Settings) -> list[Row]:
    from gim.evaluation.protocols import PROTOCOLS

    return [{"protocol": protocol.id, **asdict(protocol)} for protocol in PROTOCOLS]


def _runs(settings: Settings) -> list[Row]:
    from gim.runtime.opening import open_store
    from gim.training.runs import runs_of

    with closing(open_store(settings)) as store:
        return [
            {
                "run": run.run_id,
                "recipe": run.record.recipe if run.record else "",
                "dataset": run.record.dataset_id if run.record else "",
                "architecture": run.record.settings.get("architecture", "") if run.record else "",
                "last": run.steps[-1] if run.steps else 0,
                "steps": run.num_steps,
                "checkpoints": list(run.steps),
                "best": run.best,
                "score": None if run.best is None else run.scores[run.best],
                "matcher": f"run:{run.run_id}@{run.result}" if run.result else "",
            }
            for run in runs_of(store)
        ]


def _run_in_words(row: Row) -> Row:
    """A run in a table: of its checkpoints the last and the best."""
    done = f"{row['last']} of {row['steps']}" if row["steps"] is not None else str(row["last"])
    best = "" if row["best"] is None else f"{row['best']} ({row['score']:.4g})"
    shown = {name: row[name] for name in ("run", "recipe", "dataset", "architecture")}
    return {**shown, "steps": done, "best (score)": best, "as a matcher": row["matcher"] or "not finished"}


def _settings(settings: Settings) -> list[Row]:
    from gim.assignments import allowed, setting_types

    values = settings.redacted()
    return [
        {"setting": path, "value": values.get(path, "(section is off)"), "allowed": allowed(kind)}
        for path, kind in setting_types(Settings).items()
    ]


_LISTERS: dict[Kind, Callable[[Settings], list[Row]]] = {
    Kind.videos: _videos,
    Kind.matchers: list_matchers,
    Kind.segmenters: _segmenters,
    Kind.recipes: _recipes,
    Kind.protocols: _protocols,
    Kind.runs: _runs,
    Kind.settings: _settings,
}
