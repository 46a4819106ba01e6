"""The matcher: segments in, base labels out; and matches for whoever asks over gRPC. See README.md beside this file."""

import sys

from gim.runtime.service import run_service
from gim.runtime.service_parts import matcher

if __name__ == "__main__":
    sys.exit(run_service("matcher", matcher))
