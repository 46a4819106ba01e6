"""Threads of a process: how many the numeric libraries may use, and those that only beat."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
from threadpoolctl import threadpool_limits

_OPENMP_THREADS = "OMP_NUM_THREADS"


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let OpenCV and BLAS use one thread per call: the stages spread pairs and frames over threads themselves.

    Covers the libraries loaded by now. The former limits come back at the end.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def network_threads(threads: int) -> Iterator[None]:
    """Let torch use that many threads per call: networks work from one thread at a time, on one batch after another.

    By itself each process takes all cores. Imports no torch: one that is loaded by now is told, and gets its former
    number back at the end; one that is loaded later reads the environment, and keeps what it read. A smaller number
    that the user has put there stands.
    """
    given = os.environ.get(_OPENMP_THREADS)
    if given is not None and given.isdecimal():
        threads = min(threads, max(int(given), 1))
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    os.environ[_OPENMP_THREADS] = str(threads)
    if torch:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)
        if given is None:
            del os.environ[_OPENMP_THREADS]
        else:
            os.environ[_OPENMP_THREADS] = given


@contextmanager
def beating(beat: Callable[[], None], every_seconds: float, name: str) -> Iterator[None]:
    """Call `beat` from a thread every so often for as long as the block runs."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(every_seconds):
            beat()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
