"""The decoding process: `python -m gim.video.child PARENT_PID`, a `Job` as one line on stdin, messages on stdout.

It is confined by `gim.video.sandbox`, writes to nothing but its pipe, and ends when its parent does.
"""

import os
import sys
import traceback

import av
import cv2

from gim.errors import ConfigError, InvalidInput, UnsafeInput
from gim.video.decoding import Pipe, decode_job
from gim.video.messages import Failure, Job, pack_message, unpack_job
from gim.video.sandbox import confine_process, die_with_parent


def explain_failure(error: Exception, job: Job) -> Failure:
    """An exception as the last message of a job."""
    one_line = " ".join(str(error).split())
    if isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem):
        limit = f"limits.max_memory_bytes={job.config.limits.max_memory_bytes}"
        return Failure("unsafe", f"{job.name}: decoding needs more memory than {limit}")
    if isinstance(error, UnsafeInput):
        return Failure("unsafe", one_line)
    if isinstance(error, InvalidInput):
        return Failure("invalid", one_line)
    if isinstance(error, ConfigError):
        return Failure("config", one_line)
    return Failure("bug", "".join(traceback.format_exception(error)))


def main() -> None:
    """Read the job, shut the walls, decode."""
    pipe = Pipe(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    av.logging.set_level(av.logging.PANIC)
    job = unpack_job(sys.stdin.buffer.readline())
    die_with_parent(int(sys.argv[1]), sys.stdin.fileno())
    confine_process(job.config.limits)
    try:
        decode_job(job, pipe)
    except Exception as error:  # the process boundary: every exception becomes a message
        pipe.send(pack_message(explain_failure(error, job)))


if __name__ == "__main__":
    main()
