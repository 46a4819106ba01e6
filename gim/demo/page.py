"""The page: two places to drop an image, a tick for every matcher, and the pictures side by side. Serves nothing."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, cast

import gradio as gr

from gim.demo.compare import Comparison, Outcome
from gim.errors import GimError

_TITLE = "GIM: matchers side by side"
_LEGEND = "Lines join what a matcher takes for the same point: green agree with one epipolar geometry, red do not."
_CACHE_SECONDS = (600, 3600)  # how often uploads and pictures are looked through, and how old they get
CSS = """
.gradio-container { max-width: 1800px !important; margin: auto; }
.error { color: #b91c1c; font-weight: 600; overflow-wrap: anywhere; }
.dark .error { color: #fca5a5; }
footer { display: none !important; }
"""


def build_page(comparison: Comparison) -> Any:
    """The page for these matchers: gradio's `Blocks`."""
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_CACHE_SECONDS) as page:
        gr.Markdown(f"# {_TITLE}\n\nDrop two images that show the same place or thing. {_LEGEND}")
        with gr.Row():
            images = [_photo_input(view) for view in (0, 1)]
        chosen = gr.CheckboxGroup(
            comparison.offered, value=[comparison.ticked], label="Matchers that run here", elem_id="matchers"
        )
        if comparison.missing:
            lines = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in comparison.missing.items())
            gr.HTML(f"Not here: <ul>{lines}</ul>", elem_id="missing")
        button = gr.Button("Match", variant="primary", elem_id="match")
        message = gr.HTML(visible=False, elem_id="message", elem_classes="error")
        slots = _result_slots(comparison.offered)
        button.click(
            _handler(comparison, message, slots),
            [*images, chosen],
            [message, *(part for slot in slots.values() for part in slot)],
            api_visibility="private",
            show_progress="minimal",
        )
    return page


def _photo_input(view: int) -> gr.Image:
    """A place for an image, which hands on the file as it was dropped.

    Two habits of `gr.Image` are replaced, on the object, since gradio writes a stub beside the source of a subclass: it
    decodes the image, and so refuses what only we can read; and it fetches any address that a caller gives for a file.
    """
    image: Any = gr.Image(
        label=f"Image {view}", type="filepath", sources=["upload", "clipboard"], height=280, min_width=280,
        elem_id=f"image{view}",
    )  # fmt: skip
    keep = image.async_move_resource_to_block_cache

    async def keep_file(place: str | None) -> str | None:
        if place and "://" in place:
            raise gr.Error("Drop a file: addresses are not fetched.", print_exception=False)
        return str(await keep(place)) if place else None

    def dropped_file(payload: Any) -> str | None:
        if payload is None:
            return None
        path = Path(payload.path).resolve()
        if not path.is_relative_to(Path(image.GRADIO_CACHE).resolve()):
            raise gr.Error("Drop a file of yours.", print_exception=False)
        return str(path)

    image.async_move_resource_to_block_cache = keep_file
    image.preprocess = dropped_file
    return cast("gr.Image", image)


def _result_slots(names: list[str]) -> dict[str, tuple[gr.Column, gr.HTML, gr.Image]]:
    """A column, a line of text and a picture for every matcher, hidden until it is asked for."""
    slots = {}
    with gr.Row():
        for name in names:
            with gr.Column(visible=False, min_width=440, elem_id=f"result-{name}") as column:
                text = gr.HTML()
                picture = gr.Image(
                    show_label=False, interactive=False, format="jpeg", buttons=["download", "fullscreen"],
                    alt_text=f"Matches found by {name}",
                )  # fmt: skip
            slots[name] = (column, text, picture)
    return slots


def _handler(comparison: Comparison, message: gr.HTML, slots: dict[str, Any]) -> Any:
    def match(path0: str | None, path1: str | None, names: list[str]) -> Iterator[dict[Any, Any]]:
        """Show each matcher's result as soon as it is there."""
        wanted = [name for name in comparison.offered if name in names]
        complaint = "" if path0 and path1 else "Drop an image into both places."
        if not wanted:
            complaint = "Tick at least one matcher."
        yield _cleared(message, slots, complaint, [] if complaint else wanted)
        if complaint:
            return
        try:
            for outcome in comparison.outcomes(Path(path0 or ""), Path(path1 or ""), wanted):
                yield _shown(slots, outcome)
        except GimError as error:
            yield _cleared(message, slots, _without_folders(str(error), path0, path1), [])

    return match


def _cleared(message: gr.HTML, slots: dict[str, Any], complaint: str, waiting: list[str]) -> dict[Any, Any]:
    updates: dict[Any, Any] = {message: gr.update(value=escape(complaint), visible=bool(complaint))}
    for name, (column, text, picture) in slots.items():
        updates[column] = gr.update(visible=name in waiting)
        updates[text] = gr.update(value=f"{escape(name)}: matching ...", elem_classes="")
        updates[picture] = gr.update(value=None, visible=False)
    return updates


def _shown(slots: dict[str, Any], outcome: Outcome) -> dict[Any, Any]:
    _, text, picture = slots[outcome.matcher]
    failed = outcome.picture is None
    return {
        text: gr.update(value=escape(outcome.text), elem_classes="error" if failed else ""),
        picture: gr.update(value=outcome.picture, visible=not failed),
    }


def _without_folders(text: str, *paths: str | None) -> str:
    """A message without the folder that uploads are kept in."""
    for path in paths:
        text = text.replace(str(path), Path(str(path)).name)
    return text
