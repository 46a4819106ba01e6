"""A lane of work beside the main one: calls run one after another, in the order given, a few waiting at most."""

import queue
import threading
from collections.abc import Callable

Call = Callable[[], None]


class Lane:
    """Runs calls in its own thread, or at once where the whole process shall keep to one thread.

    The results are the same either way: order is kept, and `put` waits when the lane is full, so memory is bounded.
    """

    def __init__(self, *, is_threaded: bool, max_waiting: int) -> None:
        self._queue: queue.Queue[Call | None] = queue.Queue(max_waiting)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True) if is_threaded else None
        if self._thread:
            _start(self._thread)

    def put(self, call: Call) -> None:
        """Have `call` run after all calls before it. Raises what an earlier one raised."""
        if self._error:
            raise self._error
        if self._thread:
            self._queue.put(call)
        else:
            call()

    def close(self) -> None:
        """Return once every call has run. Raises what one of them raised."""
        if self._thread and self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            if self._error:
                continue  # drained, so that `put` cannot wait for ever
            try:
                call()
            except Exception as error:  # handed to the thread that puts
                self._error = error


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:  # Python's name for a stack that cannot be had
        raise MemoryError("no room for a thread") from error
