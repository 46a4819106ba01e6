"""What YouTube needs besides yt-dlp: something that runs the JavaScript of its player, and yt-dlp's scripts for that.

Without both, yt-dlp is left with the formats that need no script: a few, and for some videos none. Deno and Node alone
are used: yt-dlp starts them without any right to files or network.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

RUNTIMES = ("deno", "node")  # the first that is there is taken
_WAY_OUT = 'pip install "gim-pipeline[youtube]"'


@dataclass(frozen=True, slots=True)
class JavaScript:
    """What is here; empty what is not."""

    runtime: str  # name and version
    scripts: str  # version of yt-dlp-ejs
    too_old: str = ""  # a runtime that is here, but that yt-dlp does not take

    @property
    def missing(self) -> str:
        """What is missing and how to get it, in one line; empty when nothing is."""
        lacks = (
            [] if self.runtime else [f"a JavaScript runtime{f' ({self.too_old} is too old)' if self.too_old else ''}"]
        )
        lacks += [] if self.scripts else ["the package yt-dlp-ejs"]
        return f"YouTube needs {' and '.join(lacks)}: {_WAY_OUT}" if lacks else ""


def find_javascript() -> JavaScript:
    """Look for runtimes beside this Python and on PATH, as yt-dlp does."""
    import yt_dlp  # noqa: F401, PLC0415  registers the runtimes; a second to import and needed by few
    from yt_dlp.globals import supported_js_runtimes  # noqa: PLC0415

    found = [supported_js_runtimes.value[name]().info for name in RUNTIMES]
    usable = [f"{info.name} {info.version}" for info in found if info is not None and info.supported]
    too_old = [f"{info.name} {info.version}" for info in found if info is not None and not info.supported]
    try:
        scripts = version("yt-dlp-ejs")
    except PackageNotFoundError:
        scripts = ""
    return JavaScript(next(iter(usable), ""), scripts, ", ".join(too_old))
