"""The one place that says how many threads the numeric libraries of a process may use."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let OpenCV and BLAS use one thread per call: the stages spread pairs and frames over threads themselves.

    Covers the libraries loaded by now. The former limits come back at the end.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cv2.setNumThreads(before)
