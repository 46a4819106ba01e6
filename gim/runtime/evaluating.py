"""Evaluates a matcher on this machine: in threads of this process, or in several processes that take shards.

Processes meet in the store alone: each keeps what it made, and this one puts it together. With several GPUs each
process has the next. They end with this one, however it ends: what is whole is in the store.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Self

from gim.errors import Unavailable
from gim.evaluation.passes import Evaluation, Scorer, Shard
from gim.evaluation.views import Views
from gim.matchers.network import ModelResources, NetworkMatcher
from gim.matchers.registry import load_matcher, matcher_class
from gim.records import Float64Array
from gim.runtime.interrupt import ctrl_c_held_back
from gim.runtime.opening import is_remote, open_store
from gim.runtime.threads import network_threads, one_thread_each
from gim.settings import Settings

_SHARDS_OF_A_WORKER = 8  # so that none is idle for long at the end


class LocalEvaluator:
    """One matcher, loaded once, for as many benchmarks as are asked for."""

    def __init__(
        self,
        settings: Settings,
        matcher: str,
        *,
        workers: int = 1,
        shard: Shard | None = None,
        on_pairs: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Load the matcher and open the store, a folder that is made if need be.

        Args:
            settings: the store, the matcher's own settings, devices, threads.
            matcher: its name.
            workers: processes; with one, everything is done in this one.
            shard: the share that is done here; all by default.
            on_pairs: called with the number of pairs that have just been done, or were there.

        Raises:
            UnknownMatcher, ConfigError, InvalidInput, Unavailable: as for `load_matcher` and `open_store`.
        """
        self._settings = settings
        self._name = matcher
        self._num_workers = workers
        self._shard = shard
        self._on_pairs = on_pairs
        self._held = ExitStack()
        self._worker = _Worker(settings, matcher, settings.run.threads or multiprocessing.cpu_count(), self._held)
        self._leash: Connection | None = None  # processes end when it is closed
        self._pool = self._start(workers) if workers > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None and self._leash is not None:
            self._leash.close()  # first: else the processes would be waited for until their shards are done
        self._held.close()

    def evaluate(self, views: Views, scorer: Scorer) -> Float64Array | None:
        """What a scorer says of every pair, [num_pairs, ...]; None while other shards are missing.

        Raises:
            InvalidInput: an image cannot be read.
            Unavailable: a process was killed; the same call goes on where it was.
        """
        if self._pool is None:
            self._worker.run(views, scorer, self._shard, self._on_pairs)
        else:
            self._run_in_processes(views, scorer)
        return self._worker.evaluation(views, scorer).rows()

    def evaluation(self, views: Views, scorer: Scorer) -> Evaluation:
        """Where the passes of a benchmark are kept."""
        return self._worker.evaluation(views, scorer)

    def _start(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        turns: Queue[int] = context.Queue()
        for turn in range(workers):
            turns.put(turn)
        threads = max((self._settings.run.threads or multiprocessing.cpu_count()) // workers, 1)
        held_by_them, self._leash = context.Pipe(duplex=False)
        self._held.callback(self._leash.close)
        self._held.callback(held_by_them.close)
        given = (self._settings, self._name, threads, turns, held_by_them)
        pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=given)
        self._held.callback(pool.shutdown, cancel_futures=True)
        return pool

    def _run_in_processes(self, views: Views, scorer: Scorer) -> None:
        assert self._pool is not None
        number = self._num_workers * _SHARDS_OF_A_WORKER
        shards = [Shard(index, number) for index in range(number)]
        mine = [each for each in shards if each.chunks(len(views.pairs))]
        with ctrl_c_held_back():
            work = [self._pool.submit(_run_shard, views, scorer, each) for each in mine]
        try:
            for done in as_completed(work):
                self._on_pairs(done.result())
        except BrokenExecutor as error:
            raise Unavailable("a process of the evaluation was killed; the same command goes on from there") from error
        finally:
            for each in work:
                each.cancel()


class _Worker:
    """A matcher, a store and threads, in whichever process."""

    def __init__(self, settings: Settings, matcher: str, threads: int, held: ExitStack) -> None:
        resources = ModelResources(settings.inference, settings.weights)
        self.matcher = load_matcher(matcher, settings.matcher.get(matcher), resources)
        self._store = open_store(settings, create=not is_remote(settings))
        held.callback(self._store.close)
        held.enter_context(one_thread_each())
        held.enter_context(network_threads(threads))
        self._executor = ThreadPoolExecutor(threads)
        held.callback(self._executor.shutdown, cancel_futures=True)

    def evaluation(self, views: Views, scorer: Scorer) -> Evaluation:
        return Evaluation(self._store, views, scorer, self.matcher)

    def run(self, views: Views, scorer: Scorer, shard: Shard | None, on_pairs: Callable[[int], None]) -> None:
        self.evaluation(views, scorer).run(self._executor, shard=shard, on_pairs=on_pairs)


_in_this_process: list[_Worker] = []  # of a process of the pool: its one worker


def _start_worker(settings: Settings, matcher: str, threads: int, turns: "Queue[int]", leash: Connection) -> None:
    threading.Thread(target=_end_with, args=(leash,), name="leash", daemon=True).start()
    kind = matcher_class(matcher, settings.matcher.get(matcher))
    own = _on_next_gpu(settings, turns.get()) if issubclass(kind, NetworkMatcher) else settings
    _in_this_process.append(_Worker(own, matcher, threads, ExitStack()))  # the process ends with it


def _end_with(leash: Connection) -> None:
    """End this process once the other end is closed, by the parent or because it was killed: else it waits for ever."""
    leash.poll(None)
    os._exit(1)


def _run_shard(views: Views, scorer: Scorer, shard: Shard) -> int:
    """How many pairs are done by it."""
    done: list[int] = []
    _in_this_process[0].run(views, scorer, shard, done.append)
    return sum(done)


def _on_next_gpu(settings: Settings, turn: int) -> Settings:
    """The settings with one of the GPUs in turn, where they name none and there are several."""
    from gim.inference.device import num_gpus  # noqa: PLC0415 - loads torch, which only networks need

    if settings.inference.device not in ("auto", "cuda") or num_gpus() < 2:
        return settings
    return replace(settings, inference=replace(settings.inference, device=f"cuda:{turn % num_gpus()}"))
