"""A page in a real browser that is watched: what it asks of others, and what it complains about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Watched(NamedTuple):
    """A page and, as they come, the addresses it asks for and the warnings and errors of its console."""

    page: "Page"
    asked: list[str]
    complaints: list[str]


@contextmanager
def watched_page(browser: "Browser", **settings: Any) -> Iterator[Watched]:
    """An empty page in a context of its own, as large as a usual window."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
    watched = Watched(context.new_page(), [], [])
    watched.page.on("request", lambda request: watched.asked.append(request.url))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    watched.page.on(
        "console",
        lambda message: watched.complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    try:
        yield watched
    finally:
        context.close()
