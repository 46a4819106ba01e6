"""The downloader: requested videos in, sampled frames and segments to label out. See README.md beside this file."""

import sys

from gim.runtime.service import run_service
from gim.runtime.service_parts import downloader

if __name__ == "__main__":
    sys.exit(run_service("downloader", downloader))
