"""The formats of `gim export`, one module each, and one export from start to end."""

import importlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gim.errors import InvalidInput
from gim.export.base import Exporter, ExportOptions
from gim.export.folder import DESCRIPTION, new_folder
from gim.export.selection import Condition, SelectedVideo, read_pairs, select_pairs
from gim.ports.store import Store
from gim.records import PairQuality, PairsManifest

FORMATS = ("npz", "webdataset", "hdf5", "colmap")  # modules of this package
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was exported."""

    format: str
    out: str
    num_videos: int  # with at least one pair
    num_pairs: int
    num_pairs_left_out: int  # by the conditions
    num_correspondences: int
    facts: dict[str, int | str] = field(default_factory=dict)  # of the format


def check_options(format_name: str, given: Sequence[str]) -> None:
    """Refuse options that a format does not use.

    Raises:
        InvalidInput: the message names the formats that do.
    """
    for name in given:
        users = [known for known in FORMATS if name in _module(known).OPTIONS]
        if format_name not in users:
            raise InvalidInput(f"--{name.replace('_', '-')} is for {' and '.join(users)}, not for {format_name}")


def export_pairs(
    store: Store,
    results: Sequence[PairsManifest],
    out: Path,
    *,
    format_name: str,
    conditions: Sequence[Condition] = (),
    options: ExportOptions | None = None,
    overwrite: bool = False,
) -> ExportSummary:
    """Write the pairs of finished results into a new folder, one pair in memory at a time.

    Args:
        store: holds the results.
        results: at most one of each video.
        out: the folder to make.
        format_name: one of FORMATS.
        conditions: that a pair must satisfy, all of them.
        options: of the format.
        overwrite: whether an earlier export in `out` is replaced.

    Returns:
        Counts.

    Raises:
        InvalidInput: `out` is in use, or no pair satisfies the conditions.
        CorruptObject: a result in the store is damaged.
        Unavailable: the disk cannot take it; nothing is left behind.
    """
    module = _module(format_name)
    videos: list[dict[str, Any]] = []
    num_all = 0
    with new_folder(out, overwrite=overwrite) as folder:
        with closing(module.Exporter(folder, options or ExportOptions())) as exporter:
            for result in results:
                video = select_pairs(store, result, conditions)
                num_all += result.num_pairs
                if video.entries:
                    videos.append(_describe(video, _export_video(store, video, exporter)))
            if not videos:
                raise InvalidInput(f"nothing to export: none of {num_all} pairs satisfies the conditions")
            facts = exporter.finish()
        summary = ExportSummary(
            format=format_name,
            out=str(out),
            num_videos=len(videos),
            num_pairs=sum(video["num_pairs"] for video in videos),
            num_pairs_left_out=num_all - sum(video["num_pairs"] for video in videos),
            num_correspondences=sum(video["num_correspondences"] for video in videos),
            facts=facts,
        )
        document = _document(summary, videos, conditions)
        (folder / DESCRIPTION).write_text(document, encoding="utf-8")
        (folder / "README.txt").write_text(f"{module.__doc__.splitlines()[0]}\n\n{module.LAYOUT}", encoding="utf-8")
    return summary


def _module(format_name: str) -> Any:
    if format_name not in FORMATS:
        raise InvalidInput(f"unknown export format {format_name!r}: one of {', '.join(FORMATS)}")
    return importlib.import_module(f"gim.export.{format_name}")


def _export_video(store: Store, video: SelectedVideo, exporter: Exporter) -> int:
    """Hand over all wanted pairs of one video; returns the number of correspondences."""
    exporter.begin(video)
    num_correspondences = 0
    for item in read_pairs(store, video):
        exporter.add(item)
        num_correspondences += len(item.pair.correspondences)
    exporter.end()
    return num_correspondences


def _describe(video: SelectedVideo, num_correspondences: int) -> dict[str, Any]:
    """Where the pixels came from and what may be done with them travels with them."""
    provenance = video.meta.provenance
    return {
        "video_id": video.result.video_id,
        "recipe_id": video.result.recipe_id,
        "source": provenance.source,
        "title": provenance.title,
        "uploader": provenance.uploader,
        "licence": provenance.licence,
        "licence_seen": provenance.licence_seen,
        "teachers": [asdict(teacher) for teacher in video.result.teachers],
        "num_pairs": len(video.entries),
        "num_correspondences": num_correspondences,
    }


def _document(summary: ExportSummary, videos: list[dict[str, Any]], conditions: Sequence[Condition]) -> str:
    document = {
        "schema": SCHEMA,
        "format": summary.format,
        "gim": version("gim-pipeline"),
        "conditions": [str(condition) for condition in conditions],
        "num_pairs": summary.num_pairs,
        "num_correspondences": summary.num_correspondences,
        "quality": [item.name for item in fields(PairQuality)],
        "videos": videos,
        **summary.facts,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
