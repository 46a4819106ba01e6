"""Records what the README's first commands print: `python -m bench.example`, then `python -m bench.readme`.

Runs what `make run` runs (scripts/run), on the bundled clip and on a real video, in an empty folder.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.readme import RESULTS, ROOT
from gim.synthetic.clip import bundled_clip

_STORE = ["--store", "data/store"]


def record(shown: str, commands: list[list[str]], remarks: dict[int, str], out: Path) -> None:
    """Write a command as a person types it, and all that the commands behind it print on stdout."""
    environment = {**os.environ, "COLUMNS": "100"}
    lines = [f"$ {shown}"]
    with tempfile.TemporaryDirectory() as folder:
        for number, command in enumerate(commands):
            sys.stderr.write(f"... {shlex.join(command)}\n")
            done = subprocess.run(
                [sys.executable, "-m", "gim", *command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            lines += [remarks[number]] if number in remarks else []
            lines += [line.rstrip() for line in done.stdout.splitlines()]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Both examples."""
    clip, truth = bundled_clip()
    report = ["--report", "data/report.html"]
    commands = [["run", str(clip), *_STORE, *report], ["check", *_STORE, "--truth", str(truth)]]
    record("make run", commands, {1: "against the clip's own truth:"}, RESULTS / "example-1-clip.txt")
    video = ROOT.parent / "shared" / "data" / "videos" / "gopro_walk_10s.mp4"
    if video.exists():
        shown = f"make run VIDEO={video.name}"
        record(shown, [["run", str(video), *_STORE, *report]], {}, RESULTS / "example-2-video.txt")


if __name__ == "__main__":
    main()
