"""The trainer, a job: finished training pairs in; a dataset, checkpoints and word of them out. See README.md."""

import sys

from gim.runtime.service import run_job
from gim.runtime.training_node import run_training_node

if __name__ == "__main__":
    sys.exit(run_job("trainer", run_training_node))
