"""`gim colmap-labels`: labels by structure from motion, to be compared with propagated ones on the same video."""

import json
import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import ConfigOption, DeviceOption, JsonOption, SetOption, StoreOption, load_settings
from gim.cli._terminal import print_rows
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from gim.ports.store import Store
    from gim.records import FrameManifest
    from gim.stages.colmap_labels import ColmapLabelled


def register(app: typer.Typer) -> None:
    """Add `gim colmap-labels`."""
    app.command("colmap-labels")(label)


def label(
    video_ids: Annotated[
        list[str] | None, typer.Argument(metavar="VIDEO_ID...", help="See `gim ls`; all of the store by default.")
    ] = None,
    *,
    matcher: Annotated[str, typer.Option(help="Whose matches are reconstructed.", metavar="NAME")] = "rootsift",
    clip_frames: Annotated[int, typer.Option(help="Of the video, reconstructed together.", metavar="N", min=2)] = 4000,
    num_frames: Annotated[int, typer.Option("--frames", help="Of a clip.", metavar="N", min=2)] = 200,
    min_points: Annotated[int, typer.Option(help="That both frames of a pair see.", metavar="N", min=8)] = 64,
    sampling: Annotated[
        str | None, typer.Option(help="Where a video was sampled in several ways.", metavar="SAMPLING_ID")
    ] = None,
    work_dir: Annotated[Path | None, typer.Option(help="For models while they are made.", metavar="DIR")] = None,
    device: DeviceOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label videos of a store by structure from motion, the paper's baseline: `gim check` compares it with propagation.

    The pairs are stored beside those of `gim run`, under a recipe of their own.
    """
    from gim.cli._loading import loaded_matcher
    from gim.reconstruction.run import Work
    from gim.runtime.opening import open_store
    from gim.runtime.threads import one_thread_each
    from gim.stages.colmap_labels import ColmapLabelConfig, label_video

    settings = load_settings(sets, config, store=store, inference__device=device)
    numbers = ColmapLabelConfig(clip_frames=clip_frames, num_frames=num_frames, min_points=min_points)
    with closing(open_store(settings)) as opened, one_thread_each():
        manifests = _manifests(opened, video_ids or [], sampling or "")
        loaded = loaded_matcher(matcher, settings, plain_lines=not as_json)
        work = Work(threads=settings.run.threads or os.cpu_count() or 1)
        found = [label_video(opened, item, loaded, numbers, work=work, work_dir=work_dir) for item in manifests]
    rows = [_facts(item) for item in found]
    if as_json:
        print(json.dumps({"videos": rows}, allow_nan=False))
        return
    print_rows(rows)
    print("failed: clips without a model; registered: frames with a camera, of those that were taken of clips")


def _manifests(store: "Store", video_ids: list[str], sampling_id: str) -> "list[FrameManifest]":
    """The frames of videos, under the sampling that is named, or the only one that each has.

    Raises:
        InvalidInput: a video has no frames, or several samplings.
    """
    from gim import codecs, keys
    from gim.records import FrameManifest

    there = [key for key in store.list("frames/") if key.endswith("/manifest.json")]
    found = []
    for video_id in video_ids or sorted({key.split("/")[1] for key in there}):
        own = [key for key in there if key.startswith(keys.frames_prefix(video_id, sampling_id))]
        if len(own) != 1:
            why = (
                "has no frames; `gim run` makes them"
                if not own
                else f"was sampled in {len(own)} ways; purge all but one"
            )
            raise InvalidInput(f"{video_id}: {why}")
        found.append(codecs.from_json(FrameManifest, store.get(own[0])))
    if not found:
        raise InvalidInput("the store has no frames of any video; `gim run` makes them")
    return found


def _facts(item: "ColmapLabelled") -> dict[str, Any]:
    pairs, rate = item.pairs, item.rate
    return {
        "video": pairs.video_id,
        "recipe_id": pairs.recipe_id,
        "pairs": pairs.num_pairs,
        "correspondences": pairs.num_correspondences,
        **asdict(rate),
        "failed_share": round(rate.clip_share, 4),
        "registered_share": round(1 - rate.frame_share, 4),
        "rejected": pairs.rejected,
    }
