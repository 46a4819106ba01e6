"""How it looks when weights are fetched: a bar on a terminal, elsewhere a line, and nothing of those that are here."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from gim.transfer.download import Progress as Report
from gim.weights.config import WeightsConfig
from gim.weights.files import find_weights


def fetch_weights(
    names: Sequence[str], config: WeightsConfig, *, quiet: bool = False, plain_lines: bool = True
) -> None:
    """Have weights lie on this machine, checked, before the work begins that needs them.

    Args:
        names: of the catalogue, or paths.
        config: where to look, and what is allowed.
        quiet: show nothing at all.
        plain_lines: whether a line is printed where nothing can be drawn.

    Raises:
        ConfigError, InvalidInput, LicenceRefused, Unavailable: as for `gim.weights.files.find_weights`.
    """
    for name in names:
        with fetch_progress(name, quiet=quiet, plain_lines=plain_lines) as report:
            find_weights(name, config, report)


@contextmanager
def fetch_progress(name: str, *, quiet: bool = False, plain_lines: bool = False) -> Iterator[Report | None]:
    """What to tell of bytes done and in total while weights are fetched.

    Args:
        name: of the weights.
        quiet: show nothing at all.
        plain_lines: whether a line is printed where nothing can be drawn.
    """
    console = Console(stderr=True)
    if not quiet and sys.stderr.isatty() and not console.is_dumb_terminal:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as bar:
            task = bar.add_task(name, total=None, visible=False)
            yield lambda done, total: bar.update(task, completed=done, total=total or None, visible=True)
    elif not quiet and plain_lines:
        yield _FirstWord(console, name)
    else:
        yield None


class _FirstWord:
    """Says once that something is fetched."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._line: Text | None = Text(f"fetching weights {name}")

    def __call__(self, _done: int, total: int) -> None:
        if self._line is None:
            return
        size = f", {total / 1e6:.0f} MB" if total else ""
        self._console.print(self._line.append(size), soft_wrap=True)
        self._line = None
