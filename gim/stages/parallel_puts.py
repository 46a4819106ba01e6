"""Putting many objects into the Store side by side: a put mostly waits for the disk, and the next need not wait too."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

_THREADS = 4  # that wait for the disk at once; it writes what four ask for nearly as fast as what one does
_WAITING = 16  # objects held at most


class ParallelPuts:
    """A block in which objects are put from a few threads; it ends when all of them are there.

    The first error of a put is raised by a later one or by the end of the block.
    """

    def __init__(self, put: Callable[[str, bytes], object]) -> None:
        self._put = put
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="put")
        self._pending: deque[Future[object]] = deque()

    def __enter__(self) -> "ParallelPuts":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """Return once nothing is written any more; after an error what has not been begun is left out."""
        try:
            while kind is None and self._pending:
                self._pending.popleft().result()
        finally:
            self._executor.shutdown(cancel_futures=True)

    def put(self, key: str, data: bytes) -> None:
        """Have an object put, soon; waits when many are waiting."""
        if len(self._pending) == _WAITING:
            self._pending.popleft().result()
        self._pending.append(self._executor.submit(self._put, key, data))
