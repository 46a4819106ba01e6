"""The propagator: base labels in, long-baseline training pairs out. See README.md beside this file."""

import sys

from gim.runtime.service import run_service
from gim.runtime.service_parts import propagator

if __name__ == "__main__":
    sys.exit(run_service("propagator", propagator))
