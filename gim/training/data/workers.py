"""A few threads that do what is most urgent first."""

import heapq
import itertools
import threading
from collections.abc import Callable

Priority = tuple[int, ...]  # lower is sooner
Task = Callable[[], None]


class Workers:
    """Threads over one heap of tasks; threads start with the first task."""

    def __init__(self, num_threads: int, name: str, on_error: Callable[[Exception], None]) -> None:
        """Begin with no task; `on_error` is told of what a task raises, in its thread."""
        self._num_threads, self._name, self._on_error = num_threads, name, on_error
        self._tasks: list[tuple[Priority, int, Task]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def push(self, priority: Priority, task: Task) -> None:
        """Have a task done; tasks of one priority in the order of their coming. After `close` it is dropped."""
        with self._changed:
            if self._is_closed:
                return
            heapq.heappush(self._tasks, (priority, next(self._numbers), task))
            if len(self._threads) < self._num_threads:
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            self._changed.notify()

    def close(self) -> None:
        """Drop what has not begun, wait for what has, end the threads."""
        with self._changed:
            self._is_closed = True
            self._tasks.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._tasks and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                *_, task = heapq.heappop(self._tasks)
            try:
                task()
            except Exception as error:
                self._on_error(error)
            del task  # or it would hold its sample until the next
