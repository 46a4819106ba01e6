"""`gim benchmark`: what checkpoints are judged on, in the store."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings
from gim.cli._terminal import print_rows


def register(app: typer.Typer) -> None:
    """Add `gim benchmark` and its commands."""
    benchmark = typer.Typer(help="Benchmarks of a store, for the evaluator.", no_args_is_help=True)
    benchmark.command("put")(put)
    benchmark.command("ls")(list_all)
    benchmark.command("rm")(remove)
    app.add_typer(benchmark, name="benchmark")


def put(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Begins the benchmark's id.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="With pairs.txt and its images.")],
    *,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the images.")] = "unknown",
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a folder of posed pairs into the store; every file is hashed, and other files make another benchmark."""
    from gim.benchmarks.stored import put_benchmark
    from gim.runtime.opening import open_store

    with closing(open_store(load_settings(sets, config, store=store))) as opened:
        manifest = put_benchmark(opened, name, folder, licence=licence)
    if as_json:
        print(json.dumps(asdict(manifest)))
    else:
        print(f"{manifest.benchmark_id}: {manifest.num_pairs} pairs of {len(manifest.files) - 1} images")


def list_all(
    *, store: StoreOption = None, config: ConfigOption = None, sets: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the benchmarks of a store."""
    from gim.benchmarks.stored import list_benchmarks
    from gim.runtime.opening import open_store

    with closing(open_store(load_settings(sets, config, store=store))) as opened:
        rows = [
            {
                "benchmark": manifest.benchmark_id,
                "kind": manifest.kind,
                "pairs": manifest.num_pairs,
                "num_bytes": sum(file.num_bytes for file in manifest.files),
                "licence": manifest.licence,
            }
            for manifest in list_benchmarks(opened)
        ]
    if as_json:
        print(json.dumps({"benchmarks": rows}))
    else:
        print_rows(rows)


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="See `gim benchmark ls`.")],
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Take a benchmark out of the store; reports about it stay."""
    from gim.benchmarks.stored import choose_benchmarks, remove_benchmark
    from gim.runtime.opening import open_store

    with closing(open_store(load_settings(sets, config, store=store))) as opened:
        (benchmark,) = choose_benchmarks(opened, [name])
        remove_benchmark(opened, benchmark.manifest.benchmark_id)
    print(f"{benchmark.manifest.benchmark_id}: removed")
