"""Decodes a video in a confined child process and hands out what it finds; the parent's side.

The parent never opens the media. It starts the child, reads its messages, keeps the time limits the child might not
keep itself, and turns every way in which a child can end into one clear line.
"""

import os
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gim.errors import ConfigError, GimError, InvalidInput, Unavailable, UnsafeInput
from gim.video.config import VideoConfig
from gim.video.messages import (
    Alive,
    DecodeProgress,
    Failure,
    FrameSampled,
    Job,
    Message,
    MessageBuffer,
    OverlayFound,
    VideoDecoded,
    VideoInfo,
    pack_job,
)
from gim.video.sandbox import child_environment

__all__ = [
    "DecodeProgress",
    "FrameSampled",
    "OverlayFound",
    "SampleEvent",
    "VideoDecoded",
    "VideoInfo",
    "sample_video",
]

SampleEvent = VideoInfo | FrameSampled | OverlayFound | DecodeProgress | VideoDecoded

_READ_BYTES = 2**20
_KEPT_STDERR_BYTES = 4096
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ERRORS: dict[str, type[GimError]] = {"invalid": InvalidInput, "unsafe": UnsafeInput, "config": ConfigError}


def sample_video(path: Path, config: VideoConfig, *, threads: int = 0, name: str = "") -> Iterator[SampleEvent]:
    """Decode a video once and yield its samples, overlays and shots, `VideoInfo` first and `VideoDecoded` last.

    Closing the iterator ends the child. What is yielded does not depend on `threads`, but for the seconds.

    Args:
        path: a local file.
        config: sampling, analysis and limits.
        threads: of the decoder, 0 = all cores.
        name: what error lines call the file; its file name by default.

    Raises:
        InvalidInput: it is no video that can be decoded.
        UnsafeInput: it exceeds a limit, or points to other files or addresses.
        ConfigError: a setting is wrong.
        Unavailable: somebody else ended the child.
    """
    name = name or path.name
    _refuse_non_file(path, name)
    with _Child(Job(str(path.absolute()), name, threads, config)) as child:
        while True:
            message = child.receive()
            if isinstance(message, Failure):
                _raise_failure(message, name)
            if not isinstance(message, Alive):
                yield message
            if isinstance(message, VideoDecoded):
                return


def _refuse_non_file(path: Path, name: str) -> None:
    try:
        mode = path.stat().st_mode
        str(path).encode()
    except FileNotFoundError as error:
        raise InvalidInput(f"{name}: no such file") from error
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name!r}: the file name is not UTF-8; rename it") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{name}: cannot be read ({getattr(error, 'strerror', error)})") from error
    if stat.S_ISDIR(mode):
        raise InvalidInput(f"{name}: a directory, not a video file")
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{name}: not a regular file")
    if not os.access(path, os.R_OK):
        raise InvalidInput(f"{name}: cannot be read (permission denied)")


def _raise_failure(failure: Failure, name: str) -> NoReturn:
    if failure.kind in _ERRORS:
        raise _ERRORS[failure.kind](failure.message)
    raise RuntimeError(f"{name}: the decoding process failed\n{failure.message}")


class _Child:
    """The decoding process of one job, from its start to its certain end."""

    def __init__(self, job: Job) -> None:
        self._name = job.name
        self._limits = job.config.limits
        self._waited_seconds = 0.0
        self._messages: deque[Message] = deque()
        self._buffer = MessageBuffer()
        self._stderr = b""
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "gim.video.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(),
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ)
        self._send(job)

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        """End the child and whatever it may have started, and wait for it."""
        self._selector.close()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def receive(self) -> Message:
        """The next message.

        Raises:
            UnsafeInput: a time limit has passed.
            InvalidInput: the child ended without a word.
            Unavailable: somebody else ended it.
        """
        while not self._messages:
            started = time.monotonic()
            left = self._limits.max_seconds - self._waited_seconds
            ready = self._selector.select(max(0.0, min(self._limits.stall_seconds, left)))
            self._waited_seconds += time.monotonic() - started
            if not ready:
                raise UnsafeInput(self._describe_timeout())
            for key, _ in ready:
                data = os.read(key.fd, _READ_BYTES)
                if key.fileobj is self._process.stderr:
                    self._stderr = (self._stderr + data)[-_KEPT_STDERR_BYTES:]
                    if not data:
                        self._selector.unregister(key.fileobj)
                elif data:
                    self._messages.extend(self._buffer.feed(data))
                else:
                    self._raise_end()
        return self._messages.popleft()

    def _send(self, job: Job) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pack_job(job))
        except BrokenPipeError:
            return  # `receive` finds out why

    def _describe_timeout(self) -> str:
        if self._waited_seconds >= self._limits.max_seconds:
            return f"{self._name}: decoding took longer than limits.max_seconds={self._limits.max_seconds:g}"
        return f"{self._name}: the decoder gave nothing for limits.stall_seconds={self._limits.stall_seconds:g}"

    def _raise_end(self) -> NoReturn:
        code = self._process.wait()
        if code >= 0:
            said = self._stderr.decode(errors="replace")
            raise RuntimeError(f"{self._name}: the decoding process ended with code {code}\n{said}")
        if -code == signal.SIGXCPU:
            limit = f"limits.max_seconds={self._limits.max_seconds:g}"
            raise UnsafeInput(f"{self._name}: decoding needs more processor time than {limit}")
        if -code in _FROM_OUTSIDE:
            raise Unavailable(f"{self._name}: the decoding process was ended from outside (signal {-code}); try again")
        raise InvalidInput(f"{self._name}: the decoder crashed on it ({signal.Signals(-code).name})")
