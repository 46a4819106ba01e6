"""`gim reconstruct`: a folder of photographs to a COLMAP model. `gim birds-eye`: two views of a road from above."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    MatcherOption,
    MaxMemoryOption,
    SetOption,
    load_settings,
)
from gim.cli._terminal import print_rows
from gim.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from gim.reconstruction.config import ReconstructionConfig


def register(app: typer.Typer) -> None:
    """Add `gim reconstruct` and `gim birds-eye`."""
    app.command("reconstruct")(reconstruct_images)
    app.command("birds-eye")(draw_from_above)


def reconstruct_images(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of photographs.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the model; the same command goes on in it.")],
    *,
    matcher: MatcherOption = "rootsift",
    masks: Annotated[
        Path | None, typer.Option(help="Folder of <image name>.png, 0 = ignore, as COLMAP has them.", metavar="DIR")
    ] = None,
    pairs: Annotated[
        str,
        typer.Option(help="auto, exhaustive, sequential, retrieval, or a file of image names.", metavar="KIND|FILE"),
    ] = "auto",
    overlap: Annotated[int, typer.Option(help="Sequential: images that follow each.", metavar="N")] = 10,
    num_similar: Annotated[int, typer.Option(help="Retrieval: most similar images of each.", metavar="K")] = 20,
    camera: Annotated[
        str, typer.Option(help="Who shares one: auto (by EXIF), shared, per-image, per-folder.", metavar="KIND")
    ] = "auto",
    camera_model: Annotated[
        str, typer.Option(help="COLMAP's name, or MODEL,PARAMETER,...", metavar="MODEL")
    ] = "SIMPLE_RADIAL",
    mapper: Annotated[str, typer.Option(help="incremental or global.", metavar="KIND")] = "incremental",
    merge_px: Annotated[
        float | None,
        typer.Option(
            help="Positions this near are one keypoint.",
            metavar="PX",
            show_default="2 for dense matchers, 0 for others",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of verification and mapping.")] = 0,
    threads: Annotated[int, typer.Option(metavar="N", help="With 1 the model is the same each time.")] = 0,
    redo: Annotated[bool, typer.Option("--redo", help="Replace a model of other images or settings.")] = False,
    device: DeviceOption = None,
    max_memory: MaxMemoryOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Match the photographs of a folder with any matcher and reconstruct the scene: cameras, points, a picture."""
    settings = load_settings(sets, config, inference__device=device, inference__max_memory_gib=max_memory)

    from gim.cli._loading import loaded_matcher
    from gim.cli._step_bars import step_bars
    from gim.reconstruction.run import Work, reconstruct
    from gim.runtime.threads import one_thread_each

    if threads < 0:
        raise InvalidInput(f"--threads {threads}: expected 1 or more, or 0 for all cores")
    wanted = _config(
        pairs=pairs,
        overlap=overlap,
        num_similar=num_similar,
        camera=camera,
        camera_model=camera_model,
        mapper=mapper,
        merge_px=merge_px,
        seed=seed,
    )
    loaded = loaded_matcher(matcher, settings, plain_lines=not as_json)
    with one_thread_each(), step_bars() as report:
        work = Work(threads or os.cpu_count() or 1, settings.limits.max_pixels, report)
        summary = reconstruct(images, out, loaded, wanted, masks=masks, work=work, redo=redo)
    if as_json:
        print(json.dumps({"out": str(out), **asdict(summary)}))
    else:
        print_rows(summary.rows())


def draw_from_above(
    image0: Annotated[Path, typer.Argument(metavar="IMAGE0", help="Earlier view of a road.")],
    image1: Annotated[Path, typer.Argument(metavar="IMAGE1", help="Later view.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Picture, .png.")],
    *,
    matcher: MatcherOption = "rootsift",
    k0: Annotated[
        str | None, typer.Option(help="Intrinsics, pixels; of both where the sizes are equal.", metavar="FX,FY,CX,CY")
    ] = None,
    k1: Annotated[str | None, typer.Option(help="Intrinsics of camera 1, pixels.", metavar="FX,FY,CX,CY")] = None,
    ahead: Annotated[float, typer.Option(help="How far to draw, in heights of the camera.", metavar="N")] = 14.0,
    device: DeviceOption = None,
    max_memory: MaxMemoryOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lay two views of a road onto the ground as seen from above, by the homography of their matches there."""
    if out.suffix.lower() != ".png" or not out.parent.is_dir():
        raise InvalidInput(f"cannot write {out}: expected a .png file in a folder that exists")
    settings = load_settings(sets, config, inference__device=device, inference__max_memory_gib=max_memory)

    from gim import codecs
    from gim.cli._loading import loaded_matcher
    from gim.evaluation.cameras import parse_intrinsics
    from gim.photos.matching import image_pair
    from gim.photos.reading import read_photo
    from gim.photos.scene import cameras_of
    from gim.reconstruction.birds_eye import BirdsEyeConfig, draw_birds_eye, find_ground
    from gim.whole_file import write_whole

    if not 1 <= ahead <= 100:
        raise InvalidInput(f"--ahead {ahead:g}: expected 1 to 100 heights of the camera")
    photo0, photo1 = (read_photo(path, settings.limits.max_pixels) for path in (image0, image1))
    given0, given1 = (parse_intrinsics(text) if text else None for text in (k0, k1))
    camera0, camera1 = cameras_of(photo0, photo1, given0, given1)
    (found,) = loaded_matcher(matcher, settings, plain_lines=not as_json).match_pairs([image_pair(photo0, photo1)])
    wanted = BirdsEyeConfig(ahead=ahead, seed=settings.pairing.fit.seed)
    plane = find_ground(found.points, camera0.K, camera1.K, photo0.size[1], wanted)
    write_whole(out, codecs.encode_png(draw_birds_eye(photo0.image, photo1.image, plane, camera0.K, wanted)))
    facts = {
        "matches": len(found.points),
        "on_ground": int(plane.inliers.sum()),
        "slant_deg": round(plane.slant_deg, 3),
        "camera": camera0.source,
        "H01": plane.H01.tolist(),
        "out": str(out),
    }
    if as_json:
        print(json.dumps(facts))
    else:
        print_rows([{name: value for name, value in facts.items() if name != "H01"}])


def _config(**given: Any) -> "ReconstructionConfig":
    from pydantic import TypeAdapter, ValidationError

    from gim.reconstruction.config import ReconstructionConfig

    try:
        return TypeAdapter(ReconstructionConfig).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{option}: {first['msg']}, got {first['input']!r}") from error
