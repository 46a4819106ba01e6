"""`gim zeb`: benchmarks in ZEB's layout: built of one's own images, verified, and searched for training images."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, load_settings
from gim.cli._terminal import print_rows, printable, say_note
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from gim.benchmarks.building.leak import LeakReport
    from gim.benchmarks.building.manifest import ZebManifest
    from gim.ports.store import Store

_KeyOption = Annotated[
    Path | None,
    typer.Option("--sign-key", metavar="FILE", help="Key of at least 32 bytes, for an HMAC over the manifest."),
]
_FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `gim zeb build` made.")]


def register(app: typer.Typer) -> None:
    """Add `gim zeb` and its commands."""
    zeb = typer.Typer(help="Benchmarks in ZEB's layout: build, verify, find leaks.", no_args_is_help=True)
    zeb.command("build")(build)
    zeb.command("verify")(verify)
    zeb.command("leak")(leak)
    app.add_typer(zeb, name="zeb")


def build(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of one scene, or of a subfolder for each; see docs/zeb.md.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The benchmark's own folder, new or empty.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="In tables and result files.")],
    source_format: Annotated[str, typer.Option("--from", metavar="FORMAT", help="colmap, tum, kitti or transforms.")],
    pairs_per_scene: Annotated[int, typer.Option(metavar="N", help="At most, over all bins.")] = 500,
    bins: Annotated[int, typer.Option(metavar="N", help="Of overlap, from 0 to 1.")] = 10,
    min_overlap: Annotated[float, typer.Option(metavar="X", help="Of the smaller of both overlaps.")] = 0.1,
    max_overlap: Annotated[float, typer.Option(metavar="X")] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the draw.")] = 0,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Images of a COLMAP model.")] = None,
    camera: Annotated[
        str, typer.Option(metavar="FX,FY,CX,CY[,K1,K2,P1,P2[,K3]]", help="Where the source does not say it.")
    ] = "",
    depth: Annotated[Path | None, typer.Option(metavar="DIR", help="A depth map for every image.")] = None,
    depth_units: Annotated[
        float,
        typer.Option(metavar="X", min=0, help="Of 16-bit depth per unit of the poses.", show_default="the format's"),
    ] = 0.0,
    tracks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="COLMAP model whose tracks say what images share.")
    ] = None,
    protocol: Annotated[str, typer.Option(metavar="NAME", help="It is meant to be scored by.")] = "gim",
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the images.")] = "unknown",
    sign_key: _KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a benchmark of posed images: pairs drawn evenly over overlap, and a manifest with every file's hash."""
    import hashlib
    from dataclasses import asdict

    from gim.benchmarks.building.build import BuildFacts, build_benchmark
    from gim.benchmarks.building.drawing import DrawSettings
    from gim.benchmarks.building.manifest import read_key
    from gim.benchmarks.building.sources import SourceOptions, read_scenes
    from gim.evaluation.protocols import protocol_named

    settings = DrawSettings(pairs_per_scene, bins, min_overlap, max_overlap, seed)
    scored_by = protocol_named(protocol)
    numbers = json.dumps(asdict(scored_by), sort_keys=True, separators=(",", ":")).encode()
    key = read_key(sign_key) if sign_key is not None else None
    facts = BuildFacts(name, source_format, scored_by.id, hashlib.sha256(numbers).hexdigest(), licence, key)
    options = SourceOptions(images, camera, depth, depth_units, tracks)
    scenes = read_scenes(source, source_format, options)
    manifest = build_benchmark(scenes, out, settings, facts, threads=os.cpu_count() or 1)
    if as_json:
        print(json.dumps({"out": str(out), **_built_facts(manifest)}))
    else:
        _print_built(out, manifest)


def verify(
    folder: _FolderArgument,
    *,
    sign_key: _KeyOption = None,
    digest: Annotated[str, typer.Option(metavar="HEX", help="As published by its authors.")] = "",
    as_json: JsonOption = False,
) -> int:
    """Check every file of a benchmark against its manifest. Exit code 1 when one is changed, missing or extra."""
    from dataclasses import asdict

    from gim.benchmarks.building.manifest import read_key, read_manifest
    from gim.benchmarks.building.verifying import folder_faults, manifest_faults

    if digest and (len(digest) < 16 or set(digest.lower()) - set("0123456789abcdef")):
        raise InvalidInput(f"--digest {digest!r}: expected at least 16 hex digits")
    manifest = read_manifest(folder)
    key = read_key(sign_key) if sign_key is not None else None
    faults = [*manifest_faults(manifest, key=key, digest=digest), *folder_faults(folder, manifest)]
    num_files = len(manifest.images) + len(manifest.pairs)
    if as_json:
        facts = {"name": manifest.dataset.name, "digest": manifest.digest, "files": num_files}
        print(json.dumps({**facts, "faults": [asdict(fault) for fault in faults]}))
        return 1 if faults else 0
    for fault in faults:
        print(printable(f"{fault.kind}: {fault.file} {fault.why}"))
    print(f"{manifest.dataset.name}: {len(faults)} faults in {num_files} files; digest {manifest.digest}")
    if not faults and not digest and key is None:
        print("the digest is the manifest's own: compare it with the one that its authors published (--digest)")
    return 1 if faults else 0


def leak(
    benchmark: Annotated[Path, typer.Argument(metavar="BENCHMARK", help="Folder with the benchmark's images.")],
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Videos, images, folders of either, or stores.")
    ],
    *,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find images of a benchmark in training material, near-duplicates included. Exit code 1 when there are any."""
    from contextlib import ExitStack, closing
    from dataclasses import replace

    from gim.adapters.store_file import MARKER
    from gim.benchmarks.building.leak import find_leaks
    from gim.runtime.opening import open_store

    settings = load_settings(sets, config)

    def open_if_store(path: Path) -> "Store | None":
        if not str(path).startswith("s3:") and not (path / MARKER).is_file():
            return None
        name = str(path).replace("s3:/", "s3://", 1)  # of which a path keeps one slash
        return stores.enter_context(closing(open_store(replace(settings, store=name))))

    with ExitStack() as stores:
        report = find_leaks(
            benchmark,
            sources,
            settings.video_config(),
            open_store=open_if_store,
            threads=os.cpu_count() or 1,
            on_unreadable=say_note,
        )
    _print_leaks(report, as_json=as_json)
    return 1 if report.leaks else 0


def _built_facts(manifest: "ZebManifest") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": manifest.dataset.name,
        "scenes": [asdict(scene) for scene in manifest.scenes],
        "images": len(manifest.images),
        "pairs": len(manifest.pairs),
        "protocol": manifest.protocol,
        "digest": manifest.digest,
        "signed_by": manifest.key_id,
    }


def _print_built(out: Path, manifest: "ZebManifest") -> None:
    from gim.benchmarks.building.build import short_bins

    rows = [
        {
            "scene": scene.name,
            "images": scene.num_images,
            "overlap from": scene.overlap_from,
            **{f"{count.low:g}-{count.high:g}": f"{count.num_drawn}/{count.num_candidates}" for count in scene.bins},
        }
        for scene in manifest.scenes
    ]
    print_rows(rows)
    for scene, count in short_bins(manifest):
        print(f"too few: {scene}, overlap {count.low:g}-{count.high:g}: {count.num_drawn} of {count.num_asked}")
    print(f"{out}: {len(manifest.pairs)} pairs of {len(manifest.images)} images, drawn/available by overlap above")
    print(f"digest {manifest.digest}{f', signed by key {manifest.key_id}' if manifest.signature else ''}")


def _print_leaks(report: "LeakReport", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print(json.dumps({**asdict(report), "num_leaks": len(report.leaks)}))
        return
    print_rows([asdict(found) for found in report.leaks])
    print(
        f"{len(report.leaks)} leaks; {report.num_images} images of the benchmark, {report.num_frames} frames looked at"
    )
