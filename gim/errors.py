"""The exception tree of the project; every error a user can meet descends from `GimError`.

GimError
├── InvalidInput      the caller's data is at fault: never retried, goes straight to `<topic>.dead`, exit code 2
│   ├── UnsafeInput   ... and looks like an attack (path traversal, nested URL, frame bomb)
│   ├── LicenceRefused  ... and may be right once the user allows its licence
│   ├── NotOffered    ... and its site hands it to nobody like us: private, members only, not over yet
│   ├── ShapeError    an array has the wrong shape or dtype
│   └── CorruptObject bytes in the store cannot be read as what their key says
├── Unavailable       a server, disk or device is away or full: back off and retry, never dead
│   └── DiskFull      ... for want of space: exit code 2, since only the user can make room
├── KeyMissing        the store has no such key
├── UnknownMatcher    no matcher of that name, or it cannot run here
└── ConfigError       a setting is unknown, malformed or contradictory

A message is one line that names the thing and, where there is one, the way out.
"""

import errno


class GimError(Exception):
    """Base of every expected error."""

    exit_code = 1


class InvalidInput(GimError):
    """The input itself is at fault; retrying cannot help."""

    exit_code = 2


class UnsafeInput(InvalidInput):
    """The input tries to reach what it must not, or to exhaust the machine."""


class LicenceRefused(InvalidInput):
    """The source's licence is unknown or not allowed by the settings."""

    reason = "licence"  # as of `NotOffered`


class NotOffered(InvalidInput):
    """A site lists a video but does not hand it to us."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason)  # both, so that it survives a way between processes
        self.reason = reason  # a label to count by: `private`, `deleted`, `members_only`, ...

    def __str__(self) -> str:
        return str(self.args[0])


class ShapeError(InvalidInput):
    """An array does not have the shape or dtype a function promises to take."""


class CorruptObject(InvalidInput):
    """An object of the store is not what its key says."""


class Unavailable(GimError):
    """A resource is away for now: retry later."""

    exit_code = 3


class DiskFull(Unavailable):
    """A disk or quota has no room left; the same command goes on once there is."""

    exit_code = 2


def is_disk_full(error: OSError) -> bool:
    """Whether an error of the system says that a disk or quota has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class KeyMissing(GimError):
    """The store has no object under this key."""


class UnknownMatcher(GimError):
    """No matcher of this name exists, or its requirements are not installed."""

    exit_code = 2


class ConfigError(GimError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2
