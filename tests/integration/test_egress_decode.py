"""Media is decoded without a network: no socket is opened, and none could be."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gim.errors import InvalidInput
from gim.video.config import VideoConfig
from gim.video.decode import FrameSampled, sample_video
from gim.video.sandbox import child_environment
from tests.integration.faulty_server import FaultyServer, Page, serving
from tests.synthetic import small_clip

# Ends the process at the first thing of Python's that reaches out of it.
WATCH = """
import os, sys

def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "urllib.")):
        os.write(2, f"reached out: {event} {arguments}\\n".encode())
        os._exit(77)

sys.addaudithook(watch)
"""
CONFINED = "from gim.video.config import DecodeLimits; from gim.video.sandbox import confine_process\n"
CONFINE = "confine_process(DecodeLimits())\n"
has_seccomp = pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no filter for this machine")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as running:
        running.pages["/clip.mp4"] = Page(b"\0" * 1000)
        yield running


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python process started with our import path is watched."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH)
    monkeypatch.syspath_prepend(folder)


def run_child(script: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-c", script]
    return subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)


def test_decoding_a_video_reaches_out_to_nothing(watched: None, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    small_clip(clip, duration_seconds=2.0)

    assert run_child("import socket; socket.socket()").returncode == 77  # the watch is awake
    found = list(sample_video(clip, VideoConfig()))

    assert sum(isinstance(item, FrameSampled) for item in found) > 1


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data/\n",
        "ffconcat version 1.0\nfile '{url}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "[playlist]\nFile1={url}\n",
    ],
)
def test_a_list_instead_of_a_video_is_refused_and_never_followed(
    watched: None, server: FaultyServer, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "video.mp4"
    path.write_text(text.format(url=server.url("/clip.mp4")))

    with pytest.raises(InvalidInput) as raised:
        list(sample_video(path, VideoConfig()))
    assert "reached out" not in str(raised.value)
    assert server.requests == []


@has_seccomp
def test_a_decoder_that_is_taken_over_still_opens_no_socket(server: FaultyServer) -> None:
    url = server.url("/clip.mp4")
    reach_by_ffmpeg = (
        f"import av\ntry:\n    av.open({url!r})\nexcept (OSError, ValueError) as error:\n    print(error)\n"
    )
    reach_by_python = (
        "import socket, ctypes, threading\n"
        "def attempt():\n"
        "    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):\n"
        "        try:\n            socket.socket(family); print('open', family)\n"
        "        except PermissionError: pass\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "reach = threading.Event()\n"
        "thread = threading.Thread(target=lambda: (reach.wait(), attempt()))\n"
        "thread.start()\n"
    )
    assert run_child(reach_by_ffmpeg).returncode == 0
    assert len(server.requests) > 0  # unconfined, it asks
    server.requests.clear()

    confined = run_child(
        CONFINED
        + reach_by_python
        + CONFINE
        + "attempt(); reach.set(); thread.join()\n"
        + "assert libc.syscall(425, 1, None) == -1 and ctypes.get_errno() == 1\n"
        + reach_by_ffmpeg
    )

    assert confined.returncode == 0, confined.stderr
    assert "open" not in confined.stdout.lower().replace("operation", "")
    assert "Operation not permitted" in confined.stdout
    assert server.requests == []
