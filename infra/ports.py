"""Ports of this machine: which are free, and who listens on one."""

import random
import socket
from pathlib import Path

_SERVERS = (10_000, 32_768)  # above those that have owners, below those that Linux lends to clients for a moment
_LISTENING = "0A"  # proc(5), /proc/net/tcp: TCP_LISTEN


def choose_port(wanted: int | None = None) -> int:
    """The wanted port if it is free, else any free one that no client gets lent before the server has started."""
    if wanted and is_free(wanted):
        return wanted
    while True:
        port = random.randrange(*_SERVERS)  # noqa: S311 - nobody is to be surprised by it
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: what was just closed does not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(pid: int, port: int) -> bool:
    """Whether this very process listens on the port: another's server there may answer in its place."""
    if not Path("/proc/net/tcp").exists():  # not Linux: take its word
        return True
    sockets = _listening_sockets(port)
    try:
        return any(_target(entry) in sockets for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it ended
        return False


def _listening_sockets(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""
