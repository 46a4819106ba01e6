"""The trainer's job: finished training pairs in, a fixed and hashed dataset out. See README.md beside this file."""

import sys

from gim.runtime.dataset_job import run_dataset_job
from gim.runtime.service import run_job

if __name__ == "__main__":
    sys.exit(run_job("trainer", run_dataset_job))
