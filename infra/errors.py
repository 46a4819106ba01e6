"""What can go wrong with servers and tools, as one line that names the way out."""


class InfraError(Exception):
    """A server or a tool could not be had."""


class ToolMissing(InfraError):
    """A program is not installed, and installing it here is impossible or failed."""


class ServerFailed(InfraError):
    """A server ended, or did not get ready in time."""
