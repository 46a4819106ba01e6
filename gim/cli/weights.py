"""`gim weights`: which weight files there are, fetch them, check them, make safetensors of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, load_settings
from gim.cli._terminal import print_rows, say_error
from gim.errors import GimError

if TYPE_CHECKING:
    from gim.weights.config import WeightsConfig
    from gim.weights.spec import WeightsSpec

Row = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add `gim weights` and its commands."""
    weights = typer.Typer(help="List, fetch, check and convert weight files.", no_args_is_help=True)
    weights.command("ls")(list_weights)
    weights.command("get")(get_weights)
    weights.command("check")(check_weights)
    weights.command("convert")(convert_weights)
    app.add_typer(weights, name="weights")


def list_weights(
    *,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the weights known by name: what they are, their licence, and whether they are here."""
    from gim.weights.catalogue import CATALOGUE

    settings = load_settings(sets, config).weights
    rows = [_described(spec, settings) for spec in CATALOGUE.values()]
    if as_json:
        print(json.dumps({"weights": rows}))
        return
    shown = ("weights", "here", "file", "num_bytes", "permissive", "licence", "what")
    print_rows([{name: "" if row[name] is None else row[name] for name in shown} for row in rows])


def get_weights(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="See `gim weights ls`.")],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fetch anew what is in the cache.")] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Fetch weights into the cache, unless they are here, and check them. What was interrupted is continued."""
    from gim.cli._fetching import fetch_progress
    from gim.weights.fetch import forget
    from gim.weights.files import cache_folder, find_weights, spec_named

    settings = load_settings(sets, config).weights
    specs = [spec_named(name) for name in dict.fromkeys(names)]  # all of them, before anything is fetched
    rows, faults = [], []
    for spec in specs:
        try:
            if overwrite:
                for published in spec.files:
                    forget(cache_folder(settings) / published.file)
            with fetch_progress(spec.name, quiet=as_json) as report:
                found = find_weights(spec.name, settings, report)
        except GimError as error:
            faults.append(error)
            rows.append({"weights": spec.name, "error": str(error)})
        else:
            rows.append({"weights": spec.name, **asdict(found)})
            if not as_json:
                print(f"{found.name}: {found.path} ({found.licence})")
    return _finish("weights", rows, faults, as_json=as_json)


def check_weights(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="All that are here, when none is given.")
    ] = None,
    *,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Read weight files anew: are they the published ones, can they be read, what is in them?"""
    from gim.weights.catalogue import CATALOGUE
    from gim.weights.files import forget_digests, present_file

    settings = load_settings(sets, config).weights
    forget_digests(settings)
    asked = names or [spec.name for spec in CATALOGUE.values() if present_file(spec, settings)]
    rows, faults = [], []
    for name in dict.fromkeys(asked):
        try:
            row = _checked(name, settings)
        except GimError as error:
            faults.append(error)
            rows.append({"weights": name, "error": str(error)})
        else:
            rows.append(row)
            if not as_json:
                print(_sentence(row))
    if not rows and not as_json:
        print("no weights are here; `gim weights get NAME` fetches some")
    return _finish("weights", rows, faults, as_json=as_json)


def convert_weights(
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help="What to read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to make.")],
    *,
    prefix: Annotated[str, typer.Option(help="Only tensors whose names begin so, named without it.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a .safetensors file of any checkpoint, with its origin and licence in the header."""
    from gim.cli._fetching import fetch_progress
    from gim.weights.files import find_weights

    settings = load_settings(sets, config).weights
    with fetch_progress(source, quiet=as_json) as report:
        found = find_weights(source, settings, report)
    _need_torch()
    from gim.weights.convert import convert_checkpoint

    state = convert_checkpoint(found, out, prefix=prefix, overwrite=overwrite)
    row = {"out": str(out), "num_tensors": len(state), "num_bytes": out.stat().st_size, "source": asdict(found)}
    print(json.dumps(row) if as_json else f"{out}: {len(state)} tensors, {out.stat().st_size / 1e6:.1f} MB")


def _described(spec: "WeightsSpec", settings: "WeightsConfig") -> Row:
    from gim.weights.files import present_file

    path = present_file(spec, settings)
    published = next((item for item in spec.files if path and item.file == path.name), spec.files[0])
    return {
        "weights": spec.name,
        "here": str(path) if path else "",
        "file": published.file,
        "num_bytes": published.num_bytes,
        "sha256": published.sha256,
        "git_blob": published.git_blob,
        "urls": [url for item in spec.files for url in item.urls],
        "page": spec.page,
        "permissive": spec.is_permissive,
        "licence": spec.licence,
        "what": spec.what,
    }


def _checked(name: str, settings: "WeightsConfig") -> Row:
    """What a file is."""
    from gim.weights.catalogue import CATALOGUE
    from gim.weights.files import find_weights

    found = find_weights(name, replace(settings, offline=True))
    published = CATALOGUE.get(found.name)
    row: Row = {"weights": name, **asdict(found), "published": published is not None}
    row["hash_published"] = bool(published and any(item.sha256 or item.git_blob for item in published.files))
    return row | _contents(Path(found.path))


def _contents(path: Path) -> Row:
    from gim.matchers.registry import matcher_names
    from gim.weights.formats import FileFormat, file_format
    from gim.weights.kinds import kind_of

    if file_format(path) is FileFormat.tflite:
        return {"num_tensors": 0, "num_values": 0, "model": "a network of TFLite", "matchers": []}
    _need_torch()
    from gim.weights.checkpoint import read_checkpoint

    state = read_checkpoint(path)
    kind = kind_of(state)
    return {
        "num_tensors": len(state),
        "num_values": sum(tensor.numel() for tensor in state.values()),
        "model": kind.name if kind else "",
        "matchers": [name for name in kind.matchers if name in matcher_names()] if kind else [],
    }


def _sentence(row: Row) -> str:
    stated = "as published" if row["hash_published"] else "as fetched first"
    origin = stated if row["published"] else "a file of your own"
    model = f"weights of {row['model']}" if row["model"] else "weights of a model that is not known here"
    fits = f", for {', '.join(row['matchers'])}" if row["matchers"] else ""
    numbers = f"; {row['num_tensors']} tensors, {row['num_values'] / 1e6:.1f} M values" if row["num_tensors"] else ""
    return f"{row['weights']}: ok, {origin}: {row['path']}, {model}{fits}{numbers}; {row['licence']}"


def _need_torch() -> None:
    from importlib.util import find_spec

    from gim.errors import ConfigError

    missing = [package for package in ("torch", "safetensors") if find_spec(package) is None]
    if missing:
        raise ConfigError(f"needs {' and '.join(missing)}, not installed: pip install 'gim-pipeline[models]'")


def _finish(title: str, rows: Sequence[Row], faults: Sequence[GimError], *, as_json: bool) -> int:
    """Print what there is to print, and the exit code of the worst fault."""
    if as_json:
        print(json.dumps({title: rows}))
    for fault in faults:
        say_error(str(fault))
    return min((fault.exit_code for fault in faults), default=0)
