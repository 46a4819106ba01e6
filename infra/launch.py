"""Become a server: write down which process this is, then turn into the command. Run as a process of its own.

The record is written by the process that it speaks of, so no moment exists in which a server runs unrecorded.
"""

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from gim.adapters.liveness import this_process
from infra.state import write_json

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Arguments: the record, what else it says (JSON), the parent to die with or 0, where to run, the command."""
    record, extra, parent, folder, *command = sys.argv[1:]
    if int(parent):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it ended before the call above
            sys.exit(1)
    write_json(Path(record), {**json.loads(extra), "process": asdict(this_process())})
    os.chdir(folder)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
