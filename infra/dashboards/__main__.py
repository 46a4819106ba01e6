"""`python -m infra.dashboards`: writes what is made from code; `--check` says what is stale, with exit code 1."""

import argparse
import sys
from collections.abc import Sequence

from infra.dashboards.files import stale_files, write_files


def main(arguments: Sequence[str]) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.dashboards", description="Dashboards and rules from code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a file is stale")
    if not parser.parse_args(arguments).check:
        for path in write_files():
            sys.stdout.write(f"written: {path}\n")
        return 0
    stale = list(stale_files())
    for path in stale:
        sys.stderr.write(f"error: {path} is stale: python -m infra.dashboards\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
