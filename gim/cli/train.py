"""`gim train`: trains a matcher on a dataset, and looks inside a run."""

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gim.cli import _train_looking
from gim.cli._options import ConfigOption, DeviceOption, JsonOption, SetOption, StoreOption, load_settings
from gim.cli._step_bars import step_bars
from gim.cli._terminal import say_note
from gim.errors import InvalidInput

_INTERRUPTED = 130
_TRAIN = "run"
_SHOWN = ("loss", "validation/loss", "lr", "pairs_per_second", "data_wait_share")


class _RecipeFirst(TyperGroup):
    """`gim train RECIPE ...` is `gim train run RECIPE ...`: what names no command is a recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [_TRAIN, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add `gim train` and what looks inside a run."""
    group = typer.Typer(
        help="Train a matcher: `gim train RECIPE --dataset ID` (`gim train run --help`); look inside a run.",
        no_args_is_help=True,
        cls=_RecipeFirst,
    )
    group.command(_TRAIN)(train)
    group.command("inspect")(_train_looking.inspect)
    group.command("page")(_train_looking.page)
    app.add_typer(group, name="train")


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name or TOML file; see `gim ls recipes`.")],
    *,
    dataset: Annotated[str, typer.Option(metavar="DATASET_ID", help="See `gim dataset ls`.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one.")] = False,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the run; by default made of what shapes it.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="WEIGHTS", help="To begin with: a published name, a file, run:ID.")
    ] = None,
    ablation: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of the paper's Table 2, repeatable; see `gim ls recipes`.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Scale the recipe's step to so many devices.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure a few steps, say what the run takes, write nothing.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="With --dry-run: of a device for an hour.")
    ] = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Train a matcher. Start it by torchrun for several devices; the same command with --resume goes on."""
    from dataclasses import replace

    from gim.runtime.training import Listener, estimate_training, run_training
    from gim.training.projections import estimate_text
    from gim.training.recipe_files import ablation_sets
    from gim.training.scaling import scaled_to

    changes = [text for name in ablation or () for text in ablation_sets(name)]
    if of_data := [text for text in changes if text.startswith("dataset.")]:
        raise InvalidInput(
            f"--ablation {of_data[0].partition('=')[0]} is of the dataset: `gim dataset build --ablation`"
        )
    settings = load_settings(
        [*changes, *(sets or ())],
        config,
        training_recipe=recipe,
        store=store,
        inference__device=device,
        train__start=start,
    )
    if devices:
        settings = replace(settings, train=scaled_to(settings.train, devices))
    if dry_run:
        found = estimate_training(settings, dataset, price_per_device_hour=price)
        print(json.dumps(found.facts()) if as_json else estimate_text(found))
        return 0
    with step_bars() as show:

        def tell(step: int, values: Mapping[str, float]) -> None:
            show("pairs", step * settings.train.loop.canonical_batch, settings.train.schedule.pairs)
            said = ", ".join(f"{name} {values[name]:.4g}" for name in _SHOWN if name in values)
            say_note(f"step {step} of {settings.train.num_steps}: {said}")

        result = run_training(
            settings,
            dataset,
            run_id=run or "",
            is_resumed=resume,
            listener=Listener(say=say_note, progress=show, values=tell),
        )
    if int(os.environ.get("RANK", "0")):
        return 0
    facts: dict[str, Any] = {
        "run": result.run_id,
        "ended": result.ended,
        "step": result.step,
        "bad_steps": result.num_bad_steps,
        "skipped": result.skipped,
        "labels_outside": result.labels_outside,
    }
    if as_json:
        print(json.dumps(facts))
    else:
        print(f"run:{result.run_id} {result.ended} at step {result.step}")
    return 0 if result.ended == "finished" else _INTERRUPTED
