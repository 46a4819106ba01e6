"""What is found of the JavaScript that YouTube needs, and what is said of what is missing."""

import re
from pathlib import Path

import pytest

from gim.video.config import SourceConfig
from gim.video.sources.youtube import client_options
from gim.video.sources.youtube_runtime import RUNTIMES, JavaScript, find_javascript


def executable(folder: Path, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_a_runtime_on_the_path_is_found_and_one_that_is_too_old_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    executable(tmp_path, "node", "v18.19.0")
    assert "node 18.19.0" in find_javascript().too_old
    executable(tmp_path, "deno", "deno 2.9.8 (stable, release)")
    assert find_javascript().runtime.startswith("deno 2.")
    executable(tmp_path, "node", "v22.1.0")
    assert find_javascript().too_old == ""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (JavaScript("deno 2.9.8", "0.8.0"), r""),
        (
            JavaScript("", ""),
            r"a JavaScript runtime and the package yt-dlp-ejs: pip install \"gim-pipeline\[youtube\]\"",
        ),
        (JavaScript("", "0.8.0", "node 18.19.0"), r"needs a JavaScript runtime \(node 18\.19\.0 is too old\): pip"),
        (JavaScript("node 22.1.0", ""), r"YouTube needs the package yt-dlp-ejs: pip"),
    ],
)
def test_what_is_missing_is_one_line_with_the_way_out(found, said):
    assert re.search(said, found.missing)
    assert bool(found.missing) == bool(said)


def test_only_confined_runtimes_are_used():
    assert set(client_options(SourceConfig())["js_runtimes"]) == set(RUNTIMES) == {"deno", "node"}
