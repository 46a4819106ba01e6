"""What one transfer may cost, and how its owner calls things in messages."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """Patience and bounds of one file's way from a server to the disk."""

    what: str  # a file of this kind is expected, for messages: "a video file"
    settings: str = ""  # prefix of the settings these come from, for messages: "source."; empty when there are none
    if_disk_is_full: str = "free some"  # the way out, for messages
    allow_private_addresses: bool = False  # loopback, private and link-local networks
    max_bytes: int = 16 * 2**30
    timeout_seconds: float = 30.0  # without a byte
    max_attempts: int = 5  # in a row and without progress
    first_wait_seconds: float = 1.0  # before the second attempt; doubles, with jitter
    max_wait_seconds: float = 60.0  # between attempts; a server that asks for more is reported, not waited for
