"""`gim train page`: one self-contained HTML page of a run: what it is, curves, checkpoints, pictures, skipped pairs.

Made from the store alone, also while the run goes on: it knows what the last checkpoint has stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from gim import codecs
from gim.errors import CorruptObject, KeyMissing
from gim.ports.store import Store
from gim.records import Uint8Array
from gim.training.journal import read_points
from gim.training.looking.contents import RunContents, evenly, gather, number_rows
from gim.training.looking.curves import chart, group_curves, number
from gim.training.looking.pages import data_urls, rendered
from gim.training.looking.runs import record_of, stored_pictures
from gim.whole_file import write_whole

_MOST_PICTURES = 40  # on the page, of all pairs
_LEAST_EACH = 2  # of a pair: its first and its last


@dataclass(frozen=True, slots=True)
class PairPictures:
    """A fixed pair over time."""

    number: int
    steps: list[int]  # that are shown, newest first
    num_stored: int


def write_run_page(store: Store, run: str, out: Path) -> Path:
    """Write the page of a run.

    Args:
        store: of the run.
        run: its id, or `run:<id>`.
        out: the HTML file; replaced whole or not at all.

    Raises:
        InvalidInput: there is no such run, or the file cannot be written.
        ConfigError: it has a setting that this version does not know.
        DiskFull: there is no room for the page.
        Unavailable: the store cannot be reached.
    """
    record = record_of(store, run)
    contents = gather(store, record, read_points(store, record.run_id))
    pictures, images = _pictures(store, record.run_id)
    return write_whole(out, _render(contents, pictures, images))


def _render(contents: RunContents, pictures: list[PairPictures], images: list[Uint8Array]) -> str:
    names, rows = number_rows(contents)
    return rendered(
        "run.html.j2",
        title=f"Run {contents.record.run_id}",
        contents=contents,
        charts=_charts(contents),
        names=names,
        rows=rows,
        figure=number,
        pictures=pictures,
        urls=iter(data_urls(images)),
    )


def _charts(contents: RunContents) -> Mapping[str, list[Markup]]:
    """The charts of every section of the page."""
    return {
        section: [chart(title, series, contents.last_step) for title, series in charts.items()]
        for section, charts in group_curves(contents.curves()).items()
    }


def _pictures(store: Store, run_id: str) -> tuple[list[PairPictures], list[Uint8Array]]:
    """The fixed pairs with the steps that are shown of each, and their pictures in this order."""
    stored = stored_pictures(store, run_id)
    each = max(_LEAST_EACH, _MOST_PICTURES // max(1, len(stored)))
    shown: list[PairPictures] = []
    images: list[Uint8Array] = []
    for pair, keys_by_step in stored.items():
        steps = evenly(sorted(keys_by_step, reverse=True), each)
        kept = []
        for step in steps:
            try:
                images.append(codecs.decode_image(store.get(keys_by_step[step])))
            except (KeyMissing, CorruptObject):  # deleted since, or cut off: the others are shown
                continue
            kept.append(step)
        shown.append(PairPictures(pair, kept, len(keys_by_step)))
    return shown, images
