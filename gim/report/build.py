"""The report: one self-contained HTML page over the videos of a run, made from the store alone.

The page is a template with its style and script inlined and the data as JSON; every text of a video (title, path,
reason) is untrusted and escaped, and a content policy lets only our own script run and nothing be fetched.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from gim.errors import Unavailable
from gim.ports.store import Store
from gim.records import Uint8Array
from gim.report.contents import entries_of, overview, pair_data, video_context, video_data
from gim.report.histograms import QUANTITIES
from gim.report.pictures import MAX_DRAWN, encode_within_budget, film_strip, read_pictures
from gim.report.results import RunFacts, VideoResult, load_results
from gim.report.select import (
    HALF_CORRESPONDENCES,
    HALF_PARALLAX_PX,
    HALF_RESIDUAL_PX,
    TAGS,
    Selected,
    select_pairs,
    share_out,
)
from gim.report.words import duration, plural

_SCRIPTS = ("view.js", "charts.js", "page.js")  # inlined as one
_STRIP_FRAMES = 12  # per video, fewer in a page of many
_STRIP_FRAMES_IN_ALL = 240


def write_report(store: Store, video_ids: Sequence[str], recipe_id: str | None, out: Path) -> Path:
    """Write the page over these videos of a store.

    Args:
        store: what a run has left.
        video_ids: in the order of the page.
        recipe_id: which result of each video; None takes the only one.
        out: the HTML file; replaced whole or not at all.

    Raises:
        KeyMissing: a video has no finished result.
        InvalidInput: several recipes have results and none was named.
        Unavailable: the file cannot be written.
    """
    return build_report(store, load_results(store, video_ids, recipe_id), out)


def build_report(
    store: Store,
    results: Sequence[VideoResult],
    out: Path,
    *,
    max_pairs: int = 60,
    title: str = "Training pairs from video",
    run: RunFacts | None = None,
) -> Path:
    """Write the page over these results.

    Args:
        store: holds the shards and frames the results speak of.
        results: in the order of the page.
        out: the HTML file; replaced whole or not at all.
        max_pairs: pairs drawn in the whole page, shared out among the videos; every kept pair enters the counts.
        title: of the page.
        run: what only the run knows.

    Returns:
        `out`.

    Raises:
        CorruptObject: a shard does not hold what its index says.
        Unavailable: the file cannot be written.
    """
    facts = run or RunFacts()
    shares = share_out(max_pairs, [len(entries_of(result)) for result in results])
    chosen = [select_pairs(entries_of(result), share) for result, share in zip(results, shares, strict=True)]
    images, drawn = _draw_all(store, results, chosen)
    strip_frames = min(_STRIP_FRAMES, _STRIP_FRAMES_IN_ALL // max(1, len(results)))
    context = {
        "title": title,
        "facts": facts,
        "overview": overview(results, facts),
        "videos": [video_context(result, facts, len(pairs)) for result, pairs in zip(results, drawn, strict=True)],
        "strips": [film_strip(store, result.frames, strip_frames) for result in results],
    }
    data = {
        "videos": [video_data(result, pairs) for result, pairs in zip(results, drawn, strict=True)],
        "images": images,
    }
    return _write_atomically(out, _render(context, data))


def _draw_all(
    store: Store, results: Sequence[VideoResult], chosen: Sequence[Sequence[Selected]]
) -> tuple[list[str], list[list[dict[str, Any]]]]:
    """Every picture once as a data URL, and per video its drawn pairs, which refer to pictures by position."""
    positions: dict[tuple[str, int], int] = {}
    images: list[Uint8Array] = []
    drawn = []
    for result, selected in zip(results, chosen, strict=True):
        pairs = []
        if result.pairs is not None and selected:
            for picture in read_pictures(store, result.meta.video_id, result.pairs.recipe_id, selected):
                entry = picture.selected.entry
                for frame, image in zip((entry.frame0, entry.frame1), picture.images, strict=True):
                    if positions.setdefault((result.meta.video_id, frame), len(images)) == len(images):
                        images.append(image)
                where = [positions[result.meta.video_id, frame] for frame in (entry.frame0, entry.frame1)]
                pairs.append(pair_data(picture, where))
        drawn.append(pairs)
    return encode_within_budget(images), drawn


def _render(context: dict[str, Any], data: dict[str, Any]) -> str:
    loader = PackageLoader("gim.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(duration=duration, plural=plural, pretty=_pretty)
    script = "".join(loader.get_source(environment, name)[0] for name in _SCRIPTS)
    style = loader.get_source(environment, "report.css")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        context,
        data=htmlsafe_json_dumps(data, separators=(",", ":"), allow_nan=False),
        script=Markup(script),  # noqa: S704 ours, not input
        style=Markup(style),  # noqa: S704
        script_hash=digest,
        tags=TAGS,
        quantities=QUANTITIES,
        halves={"residual": HALF_RESIDUAL_PX, "number": HALF_CORRESPONDENCES, "parallax": HALF_PARALLAX_PX},
        max_drawn=MAX_DRAWN,
    )


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)


def _write_atomically(out: Path, page: str) -> Path:
    """Beside its place first, then renamed: a reader sees the old page or the new one."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(page.encode())
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise Unavailable(f"cannot write the report {out}: {error.strerror or error}") from error
    return out
