"""Threads of a process: how many the numeric libraries may use, and those that only beat."""

import threading
from collections.abc import Callable, Iterator
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
