"""Where the sample data lie, for tests that need to know before fixtures are made."""

import os
from pathlib import Path


def shared_folder() -> Path:
    """The folder that holds `data/`: `GIM_SHARED`, or the one beside the checkout. It need not exist."""
    return Path(os.environ.get("GIM_SHARED") or Path(__file__).resolve().parents[2] / "shared")
