"""The evaluator: checkpoints in, reports on the benchmarks of the store out. See README.md beside this file."""

import sys

from gim.runtime.service import run_service
from gim.runtime.service_parts import evaluator

if __name__ == "__main__":
    sys.exit(run_service("evaluator", evaluator))
