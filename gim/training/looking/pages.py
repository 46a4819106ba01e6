"""Self-contained HTML pages in the style of the page over a run's videos (`gim.report`). Imports no torch.

Names come from files: all are escaped, and a content policy lets no script run and nothing be fetched.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from gim.evaluation.reports.cells import printable
from gim.evaluation.reports.drawings import encode
from gim.records import Uint8Array

_STYLES = ("report/report.css", "looking/looking.css")


def data_urls(pictures: Sequence[Uint8Array]) -> list[str]:
    """Pictures, uint8 RGB, as JPEGs that a page can hold, all of one quality whose sum keeps the budget of a page."""
    return encode(pictures)


def rendered(template: str, **context: Any) -> str:
    """A page from a template of this package; `style` is filled in."""
    loader = PrefixLoader(
        {"report": PackageLoader("gim.report", "templates"), "looking": PackageLoader(__package__, "templates")}
    )
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(printable=printable, next=next)
    style = "".join(loader.get_source(environment, name)[0] for name in _STYLES)
    return environment.get_template(f"looking/{template}").render(context, style=Markup(style))  # noqa: S704 ours
