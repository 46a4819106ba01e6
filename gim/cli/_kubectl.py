"""The program `kubectl`, by which commands reach a cluster: it knows which, and who is asking."""

import shutil
import subprocess

from gim.errors import ConfigError, Unavailable


def kubectl(*arguments: str, given: str = "") -> str:
    """Run it; returns what it prints.

    Args:
        arguments: of the program.
        given: for its stdin.

    Raises:
        ConfigError: it is not installed.
        Unavailable: it failed, for the reason that it gives.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise ConfigError("kubectl is not installed: print the manifest and apply it where it is")
    done = subprocess.run(  # noqa: S603 - our own arguments, and no shell
        [program, *arguments], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise Unavailable(f"kubectl {' '.join(arguments)}: {said}")
    return done.stdout
